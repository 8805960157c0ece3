// SPDX-License-Identifier: Apache-2.0
// `mvmctl exec` and `mvmctl console`: a process in a running machine.
#include <unistd.h>

#include "cli/exit.h"
#include "mvmctl/shared/session_verbs.h"
#include "mvmctl/verbs.h"
#include "spec/vm_spec_json.h"

namespace mvm::cli {
namespace {

struct Options {
  std::string vm;
  TerminalFlags terminal;
  std::vector<std::string> env;
  std::string working_dir;
  std::string user;
  std::optional<Millis> timeout;
  std::vector<std::string> command;
};

// The image's environment, user and directory hold for every process of its machine.
Result<wire::Open> open_request(const workflow::Machine& machine, const Options& o) {
  wire::Open open;
  const spec::VmSpec vm = MVM_TRY(spec::vm_spec_from_json(machine.record.spec_json));
  open.exec.env = vm.exec_defaults.env;
  open.exec.working_dir = o.working_dir.empty() ? vm.exec_defaults.working_dir : o.working_dir;
  open.exec.user = o.user.empty() ? vm.exec_defaults.user : o.user;
  for (const std::string& entry : o.env) {
    if (entry.find('=') != std::string::npos) {
      open.exec.env.push_back(entry);
    } else if (const char* value = ::getenv(entry.c_str())) {
      open.exec.env.push_back(entry + "=" + value);
    }
  }
  open.exec.argv = o.command;
  if (o.timeout) open.exec.timeout_ms = static_cast<std::uint64_t>(o.timeout->count());
  return open;
}

Result<int> exec(Context& context, const Options& o, TerminalFlags flags) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  Attached vm = MVM_TRY(attach(layout, o.vm));
  wire::Open open = MVM_TRY(open_request(vm.machine, o));
  SessionSetup setup = MVM_TRY(session_setup(flags, open.exec));
  Captured captured;
  if (context.json) captured.collect_into(setup);
  if (o.timeout) setup.options.give_up = *o.timeout + kTimeoutGrace;
  auto closed = agent_client::run_session(*vm.client, open, setup.io, setup.options);
  if (!closed) return std::move(closed).error();
  const int code = MVM_TRY(exit_code_of(context, *closed, open.exec.argv));
  if (context.json)
    context.print_json(1,
                       captured.json().set("name", vm.machine.record.name).set("exit_code", code));
  return code;
}

void add_process_options(CommandSpec& spec, Options& o) {
  spec.positionals = {{.name = "VM",
                       .help = "the machine, by name or id",
                       .target = &o.vm,
                       .complete = Complete::kVm}};
  spec.options.push_back({.names = "-e,--env",
                          .value_name = "NAME[=VALUE]",
                          .help = "environment; NAME alone passes ours on",
                          .target = &o.env});
  spec.options.push_back({.names = "-w,--workdir",
                          .value_name = "DIR",
                          .help = "working directory",
                          .target = &o.working_dir});
  spec.options.push_back({.names = "-u,--user",
                          .value_name = "USER[:GROUP]",
                          .help = "user, by name or number",
                          .target = &o.user});
}

}  // namespace

CommandSpec make_exec_command() {
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.description =
      "Runs a command in a running machine. Its output and exit code become ours; signals go to "
      "it.\n\n"
      "Without -i it gets an empty stdin.";
  add_process_options(spec, *o);
  add_terminal_options(spec, o->terminal);
  spec.options.push_back({.names = "--timeout",
                          .value_name = "TIME",
                          .help = "end the command after this time; exit code 124",
                          .target = &o->timeout});
  spec.guest_command = {.target = &o->command, .help = "command to run", .required = true};
  spec.examples = {{"mvmctl exec web -- ps", "what runs in the machine"},
                   {"tar c . | mvmctl exec -i web -- tar x -C /srv", "stream through stdin"}};
  spec.run = [o](Context& context) { return exec(context, *o, o->terminal); };
  return spec;
}

CommandSpec make_console_command() {
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.description =
      "Opens a shell in a running machine on this terminal. Ctrl-D or `exit` ends it; the machine "
      "goes on.";
  add_process_options(spec, *o);
  spec.guest_command = {.target = &o->command, .help = "instead of the shell"};
  spec.examples = {{"mvmctl console web", "look around in the machine"}};
  spec.run = [o](Context& context) -> Result<int> {
    // Whatever shell the image has; every image that has one has it under this name.
    if (o->command.empty())
      o->command = {"/bin/sh", "-c", "[ -x /bin/bash ] && exec /bin/bash; exec /bin/sh"};
    return exec(context, *o, {true, true});
  };
  return spec;
}

}  // namespace mvm::cli
