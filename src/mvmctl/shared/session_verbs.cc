// SPDX-License-Identifier: Apache-2.0
#include "mvmctl/shared/session_verbs.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "cli/exit.h"
#include "cli/output.h"
#include "spec/vm_spec_json.h"
#include "sys/pty.h"

namespace mvm::cli {

Result<Attached> attach_supervisor(const store::Layout& layout, const std::string& name) {
  Attached out;
  out.machine = MVM_TRY(workflow::find_machine(layout, name));
  sys::UniqueFd fd = MVM_TRY(workflow::connect(layout, out.machine));
  out.loop = std::make_unique<sys::EventLoop>(MVM_TRY(sys::EventLoop::create()));
  out.client = MVM_TRY(agent_client::Client::attach(*out.loop, std::move(fd)));
  return out;
}

Result<Attached> attach(const store::Layout& layout, const std::string& name) {
  Attached out = MVM_TRY(attach_supervisor(layout, name));
  // The supervisor has its own, named deadline for the boot; this wait ends with its verdict.
  MVM_TRY_CTX(out.client->wait_ready(Deadline::none()),
              "machine '" + out.machine.record.name + "'");
  return out;
}

Result<> wait_started(agent_client::Client& client, const std::string& name) {
  auto ready = client.wait_ready(Deadline::none());
  if (ready) return {};
  const auto& state = client.state();
  if (state && state->phase != wire::VmPhase::kFailed) return {};
  Error error =
      std::move(ready).error().with_code(Errc::kGuestFault).with_context("machine '" + name + "'");
  if (error.hint().empty()) return std::move(error).with_hint("mvmctl logs --console " + name);
  return error;
}

void print_created(Context& context, const spec::VmSpec& vm) {
  if (!context.json) return context.print(vm.name + "\n");
  context.print_json(1, Json::object()
                            .set("id", vm.id)
                            .set("name", vm.name)
                            .set("backend", vm.backend)
                            .set("accelerator", vm.accelerator)
                            .set("isolation", spec::to_string(vm.isolation))
                            .set("tier", spec::to_string(vm.isolation))
                            .set("image_digest", vm.image_digest));
}

Result<int> exit_code_of(Context& context, const wire::Closed& closed,
                         const std::vector<std::string>& argv) {
  const std::string program = argv.empty() ? "" : argv.front();
  switch (closed.outcome) {
    case wire::Outcome::kExited:
      return closed.code;
    case wire::Outcome::kSignalled:
      return kExitSignalBase + closed.code;
    case wire::Outcome::kTimedOut:
      context.note("mvmctl: '" + program + "' was ended by --timeout");
      return kExitTimeout;
    case wire::Outcome::kNotStarted: {
      const Error error(Errc::kNotFound, closed.message.empty()
                                             ? "'" + program + "' was not started"
                                             : closed.message);
      print_error(context, error);
      // A missing working directory is no missing command.
      const bool missing = closed.code == ENOENT && closed.message.starts_with("exec ");
      return missing ? kExitNotFound : kExitNotExecutable;
    }
    case wire::Outcome::kRefused:
      return Error(Errc::kGuestFault, closed.message);
    case wire::Outcome::kCancelled:
      return kExitInterrupted;
  }
  return kExitMvmFailed;
}

void Captured::collect_into(SessionSetup& setup) {
  setup.io.output_text = &out;
  setup.io.error_text = &err;
}

Json Captured::json() const {
  const bool truncated = std::max(out.size(), err.size()) >= agent_client::kMostText;
  return Json::object().set("stdout", out).set("stderr", err).set("truncated", truncated);
}

void add_terminal_options(CommandSpec& spec, TerminalFlags& flags) {
  spec.options.push_back({.names = "-i,--interactive",
                          .help = "pass our stdin to the command",
                          .target = &flags.interactive});
  spec.options.push_back(
      {.names = "-t,--tty", .help = "give the command a terminal", .target = &flags.tty});
}

Result<SessionSetup> session_setup(const TerminalFlags& flags, wire::ExecRequest& exec) {
  SessionSetup out;
  out.io = {flags.interactive ? STDIN_FILENO : -1, STDOUT_FILENO, STDERR_FILENO};
  out.options.forward_signals = true;
  if (!flags.tty) return out;
  const auto size = sys::window_size(STDIN_FILENO);
  if (!size)
    return Error(Errc::kInvalidArgument, "-t needs a terminal on stdin, and there is none")
        .with_hint("leave out -t");
  exec.tty = true;
  exec.rows = size->rows;
  exec.columns = size->columns;
  if (const char* term = ::getenv("TERM")) exec.env.push_back(std::string("TERM=") + term);
  out.options.raw_terminal = flags.interactive;
  return out;
}

}  // namespace mvm::cli
