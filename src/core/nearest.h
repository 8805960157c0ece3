// SPDX-License-Identifier: Apache-2.0
// What a mistyped word was meant to be.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mvm {

// The candidates nearest to a word (edit distance), best first, at most three; none when nothing is
// near.
std::vector<std::string> nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace mvm
