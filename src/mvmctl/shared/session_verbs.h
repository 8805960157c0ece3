// SPDX-License-Identifier: Apache-2.0
// What the verbs that talk to a running machine have in common.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent_client/client.h"
#include "agent_client/session.h"
#include "cli/command.h"
#include "store/layout.h"
#include "workflow/machines.h"

namespace mvm::cli {

// A machine found by name with a live connection whose guest is ready.
struct Attached {
  workflow::Machine machine;
  std::unique_ptr<sys::EventLoop> loop;  // outlives the client
  std::unique_ptr<agent_client::Client> client;
};

// Errors: kNotFound, the start failure, the deadline's.
Result<Attached> attach(const store::Layout& layout, const std::string& name);
// Without waiting for the guest.
Result<Attached> attach_supervisor(const store::Layout& layout, const std::string& name);

// Waits until a new machine is ready. A short-lived main process may have come and gone by then;
// only a failure is one. Errors: kGuestFault with its cause.
Result<> wait_started(agent_client::Client& client, const std::string& name);
// Its name, or with --json what it is.
void print_created(Context& context, const spec::VmSpec& vm);

// How a guest process ended → our exit code; what needs words goes to stderr.
Result<int> exit_code_of(Context& context, const wire::Closed& closed,
                         const std::vector<std::string>& argv);

// Terminal flags as given: -i keeps stdin open, -t allocates a terminal.
struct TerminalFlags {
  bool interactive = false;
  bool tty = false;
};
// Descriptors and options of a session for the flags. Errors: kInvalidArgument when -t has no
// terminal.
struct SessionSetup {
  agent_client::SessionIo io;
  agent_client::SessionOptions options;
};
Result<SessionSetup> session_setup(const TerminalFlags& flags, wire::ExecRequest& exec);

// With --json stdout holds one document, so the command's output goes into it.
struct Captured {
  std::string out;
  std::string err;
  void collect_into(SessionSetup& setup);
  // {"stdout", "stderr", "truncated"}
  Json json() const;
};

void add_terminal_options(CommandSpec& spec, TerminalFlags& flags);

// How much longer than its own timeout a guest's process is waited for.
inline constexpr Millis kTimeoutGrace{5000};

}  // namespace mvm::cli
