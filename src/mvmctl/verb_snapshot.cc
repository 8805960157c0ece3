// SPDX-License-Identifier: Apache-2.0
// `mvmctl snapshot create|ls|inspect|rm|restore`: machines as they were.
#include "cli/output.h"
#include "mvmctl/shared/create_events.h"
#include "mvmctl/shared/removal.h"
#include "mvmctl/shared/session_verbs.h"
#include "mvmctl/verbs.h"
#include "spec/words.h"
#include "sys/io.h"
#include "workflow/config.h"
#include "workflow/snapshot.h"

namespace mvm::cli {
namespace {

Json snapshot_json(const store::SnapshotRecord& r) {
  return Json::object()
      .set("id", r.id)
      .set("name", r.name)
      .set("machine", r.vm_name)
      .set("image", r.image_ref)
      .set("image_digest", r.image_digest)
      .set("saved_by", r.saved_by)
      .set("created_ms", r.created_ms);
}

// What its files take on disk; memory that was never written takes nothing.
Result<Bytes> size_of(const store::Layout& layout, const store::SnapshotRecord& record) {
  return sys::disk_usage(layout.snapshot_dir(record.id));
}

struct CreateOptions {
  std::string vm;
  std::string name;
};

Result<int> create(Context& context, const CreateOptions& o) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  auto vm = MVM_TRY(attach_supervisor(layout, o.vm));
  // A paused machine is saved as well, and one that is still starting is waited for.
  MVM_TRY_CTX(vm.client->wait_requests(Deadline::none()),
              "machine '" + vm.machine.record.name + "'");
  CreateEvents events(context);
  const store::SnapshotRecord record = MVM_TRY(workflow::create_snapshot(
      layout, vm.machine, *vm.client, o.name, [&](const std::string& step) { events.step(step); }));
  events.finish();
  if (context.json)
    context.print_json(1,
                       snapshot_json(record).set("size_bytes", MVM_TRY(size_of(layout, record))));
  else
    context.print(record.name + "\n");
  return 0;
}

Result<int> list(Context& context) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const store::Catalog catalog = MVM_TRY(store::Catalog::open_read_only(layout));
  const auto snapshots = MVM_TRY(catalog.list_snapshots());
  if (context.quiet) {
    for (const auto& snapshot : snapshots) context.print(snapshot.name + "\n");
    return 0;
  }
  Json array = Json::array();
  Table table({"name", "machine", "image", "age", "size"});
  table.align_right(4);
  for (const auto& snapshot : snapshots) {
    const Bytes size = MVM_TRY(size_of(layout, snapshot));
    array.add(snapshot_json(snapshot).set("size_bytes", size));
    table.add({snapshot.name, snapshot.vm_name, snapshot.image_ref, age(snapshot.created_ms),
               format_size(size)});
  }
  if (context.json)
    context.print_json(1, Json::object().set("snapshots", array));
  else
    context.print(table.text());
  return 0;
}

Result<int> inspect(Context& context, const std::string& name) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const store::Catalog catalog = MVM_TRY(store::Catalog::open_read_only(layout));
  const store::SnapshotRecord record = MVM_TRY(catalog.find_snapshot(name));
  Json out = snapshot_json(record);
  out.set("size_bytes", MVM_TRY(size_of(layout, record)))
      .set("path", layout.snapshot_dir(record.id))
      .set("spec", MVM_TRY(Json::parse(record.spec_json)));
  context.print_json(1, out);
  return 0;
}

struct RestoreOptions {
  workflow::RestoreRequest request;
  std::vector<std::string> publish;
  bool no_publish = false;
};

Result<workflow::RestoreRequest> to_request(const RestoreOptions& o,
                                            const workflow::Config& config) {
  workflow::RestoreRequest request = o.request;
  request.jail = config.jail();
  if (o.no_publish && !o.publish.empty())
    return Error(Errc::kInvalidArgument, "--no-publish and -p exclude each other");
  if (o.no_publish || !o.publish.empty()) request.forwards.emplace();
  for (const std::string& text : o.publish)
    request.forwards->push_back(MVM_TRY(spec::parse_forward(text)));
  return request;
}

Result<int> restore(Context& context, const RestoreOptions& o) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const workflow::RestoreRequest request =
      MVM_TRY(to_request(o, MVM_TRY(workflow::Config::load(layout))));
  CreateEvents events(context);
  workflow::Created created = MVM_TRY(workflow::restore(layout, request, events.get()));
  sys::EventLoop loop = MVM_TRY(sys::EventLoop::create());
  auto client = MVM_TRY(agent_client::Client::attach(loop, std::move(created.connection)));
  events.step("starting " + created.vm.name);
  MVM_TRY(wait_started(*client, created.vm.name));
  events.finish();
  print_created(context, created.vm);
  return 0;
}

CommandSpec create_command() {
  auto o = std::make_shared<CreateOptions>();
  CommandSpec spec;
  spec.name = "create";
  spec.summary = "save a running or paused machine";
  spec.description =
      "Writes the memory, the devices' state and the scratch disk of a machine to files. It stands "
      "still meanwhile and goes on afterwards; one that is paused stays paused.\n\n"
      "A snapshot holds whatever the machine's memory holds, keys and passwords too.";
  spec.positionals = {
      {.name = "VM", .help = "the machine", .target = &o->vm, .complete = Complete::kVm}};
  spec.options = {{.names = "--name",
                   .value_name = "NAME",
                   .help = "of the snapshot; made up unless given",
                   .target = &o->name}};
  spec.examples = {{"mvmctl snapshot create web --name warm", "save it, ready to serve"}};
  spec.run = [o](Context& context) { return create(context, *o); };
  return spec;
}

CommandSpec restore_command() {
  auto o = std::make_shared<RestoreOptions>();
  CommandSpec spec;
  spec.name = "restore";
  spec.summary = "start a new machine from a snapshot";
  spec.description =
      "Makes a machine that goes on where the saved one stood, with its programs running and its "
      "disk as it was, as often as you like. Name, host name, clock and randomness are its own.\n\n"
      "It has the snapshot's processors and memory. Connections that were open are broken. "
      "The machine's main process goes on, but its output is not kept and its end does not stop "
      "the machine.";
  spec.positionals = {{.name = "SNAPSHOT",
                       .help = "by name or id",
                       .target = &o->request.snapshot,
                       .complete = Complete::kSnapshot}};
  spec.options = {{.names = "--name",
                   .value_name = "NAME",
                   .help = "of the new machine; made up unless given",
                   .target = &o->request.name},
                  {.names = "--hostname",
                   .value_name = "NAME",
                   .help = "inside the machine; its name unless given",
                   .target = &o->request.hostname},
                  {.names = "-p,--publish",
                   .value_name = "[IP:]HOST:GUEST[/udp]",
                   .help = "forward a port, in place of the saved machine's",
                   .target = &o->publish},
                  {.names = "--no-publish", .help = "forward no port", .target = &o->no_publish},
                  {.names = "--ttl",
                   .value_name = "TIME",
                   .help = "stop it after this time",
                   .target = &o->request.ttl}};
  spec.examples = {{"mvmctl snapshot restore warm --name web2 -p 8081:80", "a second one, warm"}};
  spec.run = [o](Context& context) { return restore(context, *o); };
  return spec;
}

CommandSpec rm_command() {
  auto names = std::make_shared<std::vector<std::string>>();
  CommandSpec spec;
  spec.name = "rm";
  spec.summary = "remove snapshots";
  spec.description = "Removes snapshots. Machines that were started from them are not touched.";
  spec.positionals = {{.name = "SNAPSHOT",
                       .help = "by name or id",
                       .target = names.get(),
                       .complete = Complete::kSnapshot}};
  spec.run = [names](Context& context) {
    return remove_each(context, *names, workflow::remove_snapshot);
  };
  return spec;
}

}  // namespace

CommandSpec make_snapshot_command() {
  CommandSpec spec;
  spec.description =
      "Snapshots: machines as they were, on disk. Starting from one takes a fraction of a boot. "
      "Only the mvm-vmm backend has them; they are tied to the kind of processor they were made "
      "on.";
  spec.subcommands.push_back(create_command());
  CommandSpec ls;
  ls.name = "ls";
  ls.summary = "list snapshots";
  ls.run = list;
  spec.subcommands.push_back(ls);
  auto name = std::make_shared<std::string>();
  CommandSpec show;
  show.name = "inspect";
  show.summary = "show everything about a snapshot, as JSON";
  show.positionals = {{.name = "SNAPSHOT",
                       .help = "by name or id",
                       .target = name.get(),
                       .complete = Complete::kSnapshot}};
  show.run = [name](Context& context) { return inspect(context, *name); };
  spec.subcommands.push_back(show);
  spec.subcommands.push_back(rm_command());
  spec.subcommands.push_back(restore_command());
  return spec;
}

}  // namespace mvm::cli
