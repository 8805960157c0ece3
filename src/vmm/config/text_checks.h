// SPDX-License-Identifier: Apache-2.0
// Checks of text that several resources share. Internal to this module.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace mvm::vmm {

// A path that open(2) can take. `field` is the API's name of it. Errors: kInvalidArgument.
Result<> check_path(std::string_view field, std::string_view path);

// The longest path of a unix socket (sun_path with its final NUL). Source: unix(7).
constexpr std::size_t kMaxSocketPath = 107;

}  // namespace mvm::vmm
