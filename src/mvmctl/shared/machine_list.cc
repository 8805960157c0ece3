// SPDX-License-Identifier: Apache-2.0
#include "mvmctl/shared/machine_list.h"

#include "cli/output.h"

namespace mvm::cli {
namespace {

Result<std::vector<workflow::Machine>> chosen(const store::Layout& layout,
                                              const MachineList& list) {
  if (list.all) {
    std::vector<workflow::Machine> out = MVM_TRY(workflow::list_machines(layout));
    if (list.all_alive) std::erase_if(out, [](const workflow::Machine& m) { return !m.alive; });
    return out;
  }
  if (list.vms.empty())
    return Error(Errc::kInvalidArgument, "no machine is named")
        .with_hint("name one, or give --all");
  std::vector<workflow::Machine> out;
  for (const std::string& name : list.vms)
    out.push_back(MVM_TRY(workflow::find_machine(layout, name)));
  return out;
}

}  // namespace

void add_machine_list(CommandSpec& spec, MachineList& list) {
  spec.positionals = {{.name = "VM",
                       .help = "machines, by name or id",
                       .target = &list.vms,
                       .required = false,
                       .complete = Complete::kVm}};
  spec.options.push_back({.names = "-a,--all",
                          .help = list.all_alive ? "every machine that runs" : "every machine",
                          .target = &list.all});
}

Result<int> for_each_machine(
    Context& context, const MachineList& list,
    const std::function<Result<>(const store::Layout&, const workflow::Machine&)>& act) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const auto machines = MVM_TRY(chosen(layout, list));
  std::optional<Error> failure;
  Json names = Json::array();
  for (const workflow::Machine& machine : machines) {
    auto done = act(layout, machine);
    if (done) {
      names.add(machine.record.name);
      if (!context.json && !context.quiet) context.print(machine.record.name + "\n");
    } else if (!failure) {
      failure = std::move(done).error();
    } else {
      print_error(context, done.error());
    }
  }
  if (failure) return *failure;
  if (context.json) context.print_json(1, Json::object().set("names", names));
  return 0;
}

}  // namespace mvm::cli
