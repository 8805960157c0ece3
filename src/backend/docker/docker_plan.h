// SPDX-License-Identifier: Apache-2.0
// VmSpec → mvm-docker's command line and its order. Pure.
//
// Source: Docker Engine API v1.41, ContainerCreate.
#pragma once

#include "backend/backend.h"

namespace mvm::backend::docker {

// The engine's own directory, below the machine's run_dir, and the names in it.
inline constexpr char kPlace[] = "docker";
inline constexpr char kOrderFile[] = "order.json";
inline constexpr char kAgentSocket[] = "agent.sock";
// Where the container has the agent and its socket.
inline constexpr char kGuestAgent[] = "/.mvm/agent";
inline constexpr char kGuestSocket[] = "/.mvm/agent.sock";

// Errors: kUnsupported names what a container lacks.
Result<LaunchPlan> plan(const spec::VmSpec& vm);

}  // namespace mvm::backend::docker
