// SPDX-License-Identifier: Apache-2.0
// The guest's services: a process of the agent's own that starts, watches and stops them.
//
// The first kServices stream becomes that process and is its first listener. It outlives the host's
// connection, so a restored machine keeps its services; later streams join it through a socket
// without a path, which only root may use. They are told the state of every service, then what
// changes and what the services say.
#pragma once

#include <vector>

#include "core/result.h"
#include "wire/messages.h"

namespace mvm::agent::services {

// Body of the builtin: serves until the services have stopped, which SIGTERM asks for. Services
// start in the cgroup `cgroup_fd`, -1 without one. Errors: of the socket and the loop.
Result<> serve(const std::vector<wire::ServiceRequest>& services, int cgroup_fd);

}  // namespace mvm::agent::services
