// SPDX-License-Identifier: Apache-2.0
// The agent channel of a guest: the virtio-serial port named "mvm.agent", or a vsock connection to
// the host.
#pragma once

#include <cstdint>

#include "core/result.h"
#include "sys/unique_fd.h"

namespace mvm::agent {

// Opens the port, blocking mode. When the kernel has not told its name yet, waits for the kernel's
// event. Errors: kTimeout after 10 s; open's.
Result<sys::UniqueFd> open_agent_port();

// Connects to the host's port, blocking mode. The host listens before the guest starts.
// Errors: those of socket and connect.
Result<sys::UniqueFd> connect_to_host(std::uint32_t port);

}  // namespace mvm::agent
