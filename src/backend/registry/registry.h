// SPDX-License-Identifier: Apache-2.0
// The backends compiled into this build, by name.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "backend/backend.h"

namespace mvm::backend {

// In the order in which they are listed to users.
std::vector<std::string_view> backend_names();

// Errors: kInvalidArgument listing the valid names.
Result<const Backend*> find_backend(std::string_view name);

// Whether the backend has all of these. Errors: kUnsupported naming what it has not, and who has.
Result<> require(const Backend& backend, std::span<const Capability> needs);

}  // namespace mvm::backend
