// SPDX-License-Identifier: Apache-2.0
// `mvmctl pause` and `mvmctl resume`: a machine that stands still, and goes on where it stood.
#include "mvmctl/shared/machine_list.h"
#include "mvmctl/shared/session_verbs.h"
#include "mvmctl/verbs.h"

namespace mvm::cli {
namespace {

constexpr Millis kPatience{60'000};

Result<> ask(const store::Layout& layout, const workflow::Machine& machine,
             wire::RequestKind kind) {
  const std::string frame = "machine '" + machine.record.name + "'";
  auto vm = attach_supervisor(layout, machine.record.id);
  if (!vm) return std::move(vm).error();
  // As exec does: a machine that is still starting is waited for.
  MVM_TRY_CTX(vm->client->wait_requests(Deadline::none()), frame);
  const bool pause = kind == wire::RequestKind::kPause;
  MVM_TRY_CTX(vm->client->ask({kind}, Deadline::after(kPatience, pause ? "the pause of the guest"
                                                                       : "the guest's going on")),
              frame);
  return {};
}

CommandSpec make(wire::RequestKind kind) {
  auto list = std::make_shared<MachineList>();
  list->all_alive = true;
  CommandSpec spec;
  add_machine_list(spec, *list);
  spec.run = [list, kind](Context& context) {
    return for_each_machine(context, *list,
                            [&](const store::Layout& layout, const workflow::Machine& machine) {
                              return ask(layout, machine, kind);
                            });
  };
  return spec;
}

}  // namespace

CommandSpec make_pause_command() {
  CommandSpec spec = make(wire::RequestKind::kPause);
  spec.description =
      "Holds machines where they are: no processor of theirs runs until `mvmctl resume`. What is "
      "open (exec, console, cp, forwards) stands still and goes on later; nothing new can be "
      "started.\n\n"
      "Memory stays in use, and --ttl goes on. A paused machine can be stopped, killed and "
      "removed. "
      "Pausing one that is paused is fine.";
  spec.examples = {{"mvmctl pause web", "leave the processor to others"},
                   {"mvmctl pause --all", "every machine that runs"}};
  return spec;
}

CommandSpec make_resume_command() {
  CommandSpec spec = make(wire::RequestKind::kResume);
  spec.description =
      "Lets paused machines go on. Their clocks are set to the present. Resuming one that runs is "
      "fine.";
  spec.examples = {{"mvmctl resume web", "let it go on"}};
  return spec;
}

}  // namespace mvm::cli
