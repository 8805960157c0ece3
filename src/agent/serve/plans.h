// SPDX-License-Identifier: Apache-2.0
// From the host's open message to the process that serves it.
#pragma once

#include "agent/process/process.h"
#include "wire/messages.h"

namespace mvm::agent {

// Directories that builtins read and the workload may not reach by path.
struct OverlayDirs {
  int upper = -1;
  int lower = -1;
};

// A builtin as a plan: the work is done in a forked child, so that a slow disk cannot hold up the
// agent. Services start in the cgroup of the workload, -1 without one.
ProcessPlan plan_builtin(const wire::Open& open, const OverlayDirs& overlay, int cgroup_fd);

}  // namespace mvm::agent
