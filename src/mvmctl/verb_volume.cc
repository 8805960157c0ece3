// SPDX-License-Identifier: Apache-2.0
// `mvmctl volume ls|rm`: disks that outlive the machines they are mounted in.
#include "cli/output.h"
#include "mvmctl/shared/removal.h"
#include "mvmctl/verbs.h"
#include "workflow/volumes.h"

namespace mvm::cli {
namespace {

Result<int> list(Context& context) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const auto volumes = MVM_TRY(workflow::list_volumes(layout));
  Json array = Json::array();
  Table table({"name", "size", "used", "machine"});
  table.align_right(1);
  table.align_right(2);
  for (const workflow::Volume& volume : volumes) {
    if (context.quiet) context.print(volume.name + "\n");
    array.add(Json::object()
                  .set("name", volume.name)
                  .set("size_bytes", volume.size)
                  .set("used_bytes", volume.used)
                  .set("machine", volume.machine)
                  .set("path", volume.disk_path));
    table.add({volume.name, format_size(volume.size), format_size(volume.used),
               volume.machine.empty() ? "-" : volume.machine});
  }
  if (context.quiet) return 0;
  if (context.json)
    context.print_json(1, Json::object().set("volumes", array));
  else
    context.print(table.text());
  return 0;
}

CommandSpec ls_command() {
  CommandSpec spec;
  spec.name = "ls";
  spec.summary = "list volumes";
  spec.description = "Lists the volumes, what they take on this host's disk, and who has them.";
  spec.examples = {{"mvmctl volume ls", "every volume"}};
  spec.run = [](Context& context) { return list(context); };
  return spec;
}

CommandSpec rm_command() {
  auto names = std::make_shared<std::vector<std::string>>();
  CommandSpec spec;
  spec.name = "rm";
  spec.summary = "remove volumes and all they hold";
  spec.description = "Removes volumes that no running machine has. What they hold is gone.";
  spec.positionals = {{.name = "NAME", .help = "the volume", .target = names.get()}};
  spec.examples = {{"mvmctl volume rm data", "remove one"}};
  spec.run = [names](Context& context) {
    return remove_each(context, *names, workflow::remove_volume);
  };
  return spec;
}

}  // namespace

CommandSpec make_volume_command() {
  CommandSpec spec;
  spec.description =
      "Volumes are disks by name. They are made when a machine first asks for them, with --volume "
      "or in mvm.toml, and stay when it is gone. One machine has a volume at a time.";
  spec.subcommands = {ls_command(), rm_command()};
  return spec;
}

}  // namespace mvm::cli
