// SPDX-License-Identifier: Apache-2.0
// `mvmctl stop`, `kill`, `rm` and `wait`: the end of machines.
#include "cli/exit.h"
#include "cli/output.h"
#include "mvmctl/shared/machine_list.h"
#include "mvmctl/shared/session_verbs.h"
#include "mvmctl/verbs.h"

namespace mvm::cli {
namespace {

struct Options {
  MachineList machines;
  Millis grace{10'000};
  bool force = false;
};

// Ends a machine and waits until nothing of it runs.
Result<> end_machine(const store::Layout& layout, const workflow::Machine& machine,
                     const wire::Stop& stop) {
  if (!machine.alive) return {};
  auto vm = attach_supervisor(layout, machine.record.id);
  if (!vm && vm.error().code() == Errc::kNotFound) return {};  // ended meanwhile
  if (!vm) return std::move(vm).error();
  vm->client->request_stop(stop);
  // The supervisor enforces the grace; what lies beyond it is trouble of its own.
  const Deadline deadline = Deadline::after(Millis(stop.grace_ms) + Millis(15'000),
                                            "the end of machine '" + machine.record.name + "'");
  auto ended = vm->client->wait_stopped(deadline);
  if (!ended && ended.error().code() == Errc::kTimeout) return std::move(ended).error();
  return {};
}

struct WaitOptions {
  std::string vm;
  std::string what = "ready";
  std::optional<Millis> timeout;
};

Result<int> wait(Context& context, const WaitOptions& o) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const Deadline deadline =
      o.timeout ? Deadline::after(*o.timeout, "'" + o.what + "' of machine '" + o.vm + "'")
                : Deadline::none();
  auto vm = attach_supervisor(layout, o.vm);
  Result<> reached;
  if (!vm) {
    // A machine that has ended is what `--for stopped` waits for; an unknown one is not.
    const auto machine = workflow::find_machine(layout, o.vm);
    if (!machine || o.what != "stopped" || machine->state != "stopped") reached = vm.error();
  } else if (o.what == "stopped") {
    auto state = vm->client->wait_stopped(deadline);
    if (!state)
      reached = state.error();
    else if (state->phase == wire::VmPhase::kFailed)
      reached = agent_client::state_error(*state);
  } else if (o.what == "health") {
    reached = vm->client->wait_healthy(deadline);
    if (!reached && reached.error().code() == Errc::kGuestFault)
      reached = std::move(reached)
                    .error()
                    .with_hint("look at it with: mvmctl ps " + o.vm)
                    .with_context("machine '" + o.vm + "'");
  } else {
    reached = vm->client->wait_ready(deadline);
  }
  int code = kExitOk;
  if (!reached) {
    code = reached.error().code() == Errc::kTimeout ? kExitWaitTimeout : kExitWaitFailed;
    print_error(context, reached.error());
  } else if (context.json) {
    context.print_json(1, Json::object().set("name", o.vm).set("reached", o.what));
  }
  return code;
}

}  // namespace

CommandSpec make_stop_command() {
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.description =
      "Asks machines to stop: their processes get the image's stop signal and, after --time, "
      "SIGKILL; file systems are synced.";
  add_machine_list(spec, o->machines);
  spec.options.push_back({.names = "-t,--time",
                          .value_name = "TIME",
                          .help = "grace before processes are killed",
                          .target = &o->grace});
  spec.examples = {{"mvmctl stop web", "stop one machine"},
                   {"mvmctl down --all", "stop every machine"}};
  spec.run = [o](Context& context) {
    return for_each_machine(
        context, o->machines, [&](const store::Layout& layout, const workflow::Machine& machine) {
          return end_machine(layout, machine,
                             {static_cast<std::uint32_t>(o->grace.count()), false});
        });
  };
  return spec;
}

CommandSpec make_kill_command() {
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.description =
      "Ends machines at once, without asking their guests. Unsynced writes are lost.";
  add_machine_list(spec, o->machines);
  spec.examples = {{"mvmctl kill web", "end a machine that does not answer"}};
  spec.run = [o](Context& context) {
    return for_each_machine(context, o->machines,
                            [](const store::Layout& layout, const workflow::Machine& machine) {
                              return end_machine(layout, machine, {0, true});
                            });
  };
  return spec;
}

CommandSpec make_rm_command() {
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.description = "Removes machines that do not run, with their disks and logs.";
  add_machine_list(spec, o->machines);
  spec.options.push_back(
      {.names = "-f,--force", .help = "end a running machine first", .target = &o->force});
  spec.examples = {{"mvmctl rm web", "remove a stopped machine"}};
  spec.run = [o](Context& context) {
    return for_each_machine(
        context, o->machines,
        [&](const store::Layout& layout, const workflow::Machine& machine) -> Result<> {
          if (o->force) MVM_TRY(end_machine(layout, machine, {0, true}));
          return workflow::remove_machine(layout, machine);
        });
  };
  return spec;
}

CommandSpec make_wait_command() {
  auto o = std::make_shared<WaitOptions>();
  CommandSpec spec;
  spec.description =
      "Waits until a machine is ready, until everything in it that has a check is healthy, or "
      "until it "
      "has stopped.";
  spec.positionals = {{.name = "VM",
                       .help = "the machine, by name or id",
                       .target = &o->vm,
                       .complete = Complete::kVm}};
  spec.options.push_back({.names = "--for",
                          .value_name = "STATE",
                          .help = "what to wait for",
                          .target = &o->what,
                          .choices = {"ready", "health", "stopped"}});
  spec.options.push_back({.names = "-t,--timeout",
                          .value_name = "TIME",
                          .help = "give up after this time",
                          .target = &o->timeout});
  spec.exit_codes = {{kExitOk, "the state is reached"},
                     {kExitWaitFailed, "the machine failed or is gone"},
                     {kExitWaitTimeout, "not reached in time"}};
  spec.examples = {{"mvmctl wait --timeout 30s web", "wait for the guest to serve requests"}};
  spec.run = [o](Context& context) { return wait(context, *o); };
  return spec;
}

}  // namespace mvm::cli
