// SPDX-License-Identifier: Apache-2.0
// The guest's network interfaces: loopback always, eth0 as the host says.
#pragma once

#include "core/result.h"
#include "wire/messages.h"

namespace mvm::agent {

Result<> loopback_up();
// Address, prefix and default route of eth0. Errors: kInvalidArgument on what is not IPv4; "eth0:
// …".
Result<> configure_ethernet(const wire::NetworkConfig& network);

}  // namespace mvm::agent
