// SPDX-License-Identifier: Apache-2.0
// Random bytes and identifiers from the kernel.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace mvm::sys {

std::vector<std::byte> random_bytes(std::size_t count);
// Lower-case hex, two characters a byte.
std::string random_hex(std::size_t bytes);

}  // namespace mvm::sys
