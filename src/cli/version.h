// SPDX-License-Identifier: Apache-2.0
// The version of mvm, as the build knows it.
#pragma once

#include <string_view>

namespace mvm::cli {

// "0.1.0"
std::string_view version();

}  // namespace mvm::cli
