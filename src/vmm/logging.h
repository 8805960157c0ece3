// SPDX-License-Identifier: Apache-2.0
// From the API's logger to mvm's log.
//
// Threads: before any vcpu exists.
#pragma once

#include <string>

#include "core/result.h"
#include "vmm/config/observe_config.h"

namespace mvm::vmm {

// Lines begin with the instance's id. Without a path they go where they went (stderr at first).
// Errors: those of open.
Result<> configure_log(const LoggerConfig& config, const std::string& id);

}  // namespace mvm::vmm
