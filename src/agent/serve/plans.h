// SPDX-License-Identifier: Apache-2.0
// From the host's open message to the process that serves it.
#pragma once

#include "agent/serve/process.h"
#include "wire/messages.h"

namespace mvm::agent {

// Directories that builtins read and the workload may not reach by path.
struct OverlayDirs {
  int upper = -1;
  int lower = -1;
};

// Completes the environment: HOME, USER, LOGNAME and PATH, and TERM on a terminal, unless the
// request has them. An empty working directory is the user's home when it exists, else "/". Errors:
// lookup_user()'s.
Result<ProcessPlan> plan_exec(const wire::ExecRequest& request);

// A builtin as a plan: the work is done in a forked child, so that a slow disk cannot hold up the
// agent.
ProcessPlan plan_builtin(const wire::Open& open, const OverlayDirs& overlay);

}  // namespace mvm::agent
