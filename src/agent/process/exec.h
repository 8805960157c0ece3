// SPDX-License-Identifier: Apache-2.0
// From the host's request to a process of the workload.
#pragma once

#include "agent/process/process.h"
#include "wire/messages.h"

namespace mvm::agent {

// Completes the environment: HOME, USER, LOGNAME and PATH, and TERM on a terminal, unless the
// request has them. An empty working directory is the user's home when it exists, else "/". Errors:
// lookup_user()'s.
Result<ProcessPlan> plan_exec(const wire::ExecRequest& request);

}  // namespace mvm::agent
