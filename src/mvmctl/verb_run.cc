// SPDX-License-Identifier: Apache-2.0
// `mvmctl run`: a machine for one command.
#include <unistd.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "mvmctl/project/booted_project.h"
#include "mvmctl/shared/create_events.h"
#include "mvmctl/shared/machine_options.h"
#include "mvmctl/shared/session_verbs.h"
#include "mvmctl/verbs.h"
#include "spec/vm_spec_json.h"
#include "supervisor/main_process.h"

namespace mvm::cli {
namespace {

struct Options {
  MachineOptions machine;
  TerminalFlags terminal;
  std::optional<Millis> timeout;
};

wire::Open open_request(const workflow::Created& created, const Options& o) {
  wire::Open open = supervisor::start_request(created.process);
  if (o.timeout) open.exec.timeout_ms = static_cast<std::uint64_t>(o.timeout->count());
  return open;
}

// The command has ended or failed to: the machine goes, then its record. Its own disk is thrown
// away; for a volume's sake the guest is asked to write what it has not yet.
Result<> dispose(const store::Layout& layout, agent_client::Client& client,
                 const spec::VmSpec& vm) {
  client.request_stop({500, vm.volumes.empty()});
  (void)client.wait_stopped(Deadline::after(Millis(10'000), "the end of the machine"));
  return workflow::forget(layout, vm.id);
}

Result<int> run_command(Context& context, const Options& o, agent_client::Client& client,
                        const workflow::Created& created, Captured& captured) {
  Progress progress(context);
  progress.step("starting " + created.vm.name);
  MVM_TRY_CTX(client.wait_ready(Deadline::none()), "machine '" + created.vm.name + "'");
  progress.finish();
  wire::Open open = open_request(created, o);
  // Without -i a redirected stdin is still the command's: `echo x | mvmctl run -- cat` works as in
  // a shell.
  TerminalFlags flags = o.terminal;
  if (!flags.tty && ::isatty(STDIN_FILENO) == 0) flags.interactive = true;
  SessionSetup setup = MVM_TRY(session_setup(flags, open.exec));
  if (context.json) captured.collect_into(setup);
  if (o.timeout) setup.options.give_up = *o.timeout + kTimeoutGrace;
  auto closed = agent_client::run_session(client, open, setup.io, setup.options);
  if (!closed && closed.error().code() == Errc::kTimeout) return kExitTimeout;
  if (!closed) return std::move(closed).error();
  return exit_code_of(context, *closed, open.exec.argv);
}

Result<int> run(Context& context, const Options& o) {
  const store::Layout layout = MVM_TRY(store::Layout::from_environment());
  const workflow::Config config = MVM_TRY(workflow::Config::load(layout));
  workflow::CreateRequest request = MVM_TRY(
      to_request(o.machine, config, MVM_TRY(booted_project(context, layout, o.machine, config))));
  request.remove_when_done = true;
  CreateEvents events(context);
  workflow::Created created = MVM_TRY(workflow::create(layout, request, events.get()));
  events.finish();
  if (created.process.argv.empty()) created.process.argv = {"/bin/sh"};
  sys::EventLoop loop = MVM_TRY(sys::EventLoop::create());
  auto client = MVM_TRY(agent_client::Client::attach(loop, std::move(created.connection)));
  Captured captured;
  auto code = run_command(context, o, *client, created, captured);
  auto disposed = dispose(layout, *client, created.vm);
  // A boot that took too long is a failure of ours, not a timeout of the command.
  if (!code && code.error().code() == Errc::kTimeout)
    return std::move(code).error().with_code(Errc::kGuestFault);
  if (!code) return std::move(code).error();
  MVM_TRY(std::move(disposed));
  if (context.json) {
    context.print_json(1, captured.json()
                              .set("name", created.vm.name)
                              .set("exit_code", *code)
                              .set("backend", created.vm.backend)
                              .set("accelerator", created.vm.accelerator)
                              .set("isolation", spec::to_string(created.vm.isolation))
                              .set("tier", spec::to_string(created.vm.isolation))
                              .set("image_digest", created.vm.image_digest));
  }
  return *code;
}

}  // namespace

CommandSpec make_run_command() {
  auto o = std::make_shared<Options>();
  CommandSpec spec;
  spec.description =
      "Boots IMAGE (busybox without one) as a machine of its own, runs the command in it, passes "
      "its output and "
      "exit code on, and removes the machine.\n\n"
      "Without a command the image's ENTRYPOINT and CMD are run, or /bin/sh when it names none.";
  add_machine_options(spec, o->machine);
  add_terminal_options(spec, o->terminal);
  spec.options.push_back({.names = "--timeout",
                          .value_name = "TIME",
                          .help = "end the command after this time; exit code 124",
                          .target = &o->timeout});
  spec.guest_command = {.target = &o->machine.request.command,
                        .help = "command to run in the machine"};
  spec.examples = {{"mvmctl run -- uname -a", "boot the default image and run one command"},
                   {"mvmctl run -it debian:bookworm -- bash", "a shell in a fresh Debian"},
                   {"mvmctl run -p 8080:80 oci:./site", "an OCI image with its own entrypoint"}};
  spec.run = [o](Context& context) { return run(context, *o); };
  return spec;
}

}  // namespace mvm::cli
