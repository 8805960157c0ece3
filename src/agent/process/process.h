// SPDX-License-Identifier: Apache-2.0
// Starts the processes of the guest: programs of the workload, and the agent's own builtins in a
// forked child.
//
// sys::spawn() is for our side of the machine. Here the child changes user, session, terminal and
// cgroup, and PATH is the request's, searched inside the guest.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/process/users.h"
#include "core/result.h"
#include "sys/unique_fd.h"

namespace mvm::agent {

struct ProcessPlan {
  std::vector<std::string> argv;
  std::vector<std::string> env;  // complete: nothing is added
  std::string working_dir = "/";
  Credentials user;
  bool tty = false;
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
  // Runs in the child instead of argv, with the pipes as 0, 1 and 2; its value is the exit code.
  std::function<int()> builtin;
  std::vector<int> keep_fds;  // builtin: stay open in the child
  int cgroup_fd = -1;         // directory of the cgroup the child starts in, or -1
};

// What the child could not do before exec.
enum class StartStage : std::int32_t { kTerminal, kLimits, kUser, kWorkingDir, kExec };
struct StartFailure {
  StartStage stage = StartStage::kExec;
  std::int32_t errnum = 0;
};
// "exec /x: No such file or directory"
std::string describe(const StartFailure& failure, const ProcessPlan& plan);

// Our side of a started process. The descriptors are non-blocking. A TTY has no `err`.
struct Process {
  pid_t pid = -1;
  sys::UniqueFd in;
  sys::UniqueFd out;
  sys::UniqueFd err;
  // The program does not run; the child is still to be reaped.
  std::optional<StartFailure> failure;
};

// The child leads a session and a process group of its own, named by its pid.
// Returns when the program runs or cannot: a file system of the guest that hangs holds up the
// agent. Errors: those of pipe, openpt and clone; what the child meets is in Process::failure.
Result<Process> start_process(const ProcessPlan& plan);

}  // namespace mvm::agent
