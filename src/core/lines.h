// SPDX-License-Identifier: Apache-2.0
// A text's lines.
#pragma once

#include <string_view>
#include <vector>

namespace mvm {

// Views into `text`, without the newlines; empty lines too. What follows the last newline is a line
// if there is anything.
std::vector<std::string_view> lines_of(std::string_view text);

}  // namespace mvm
