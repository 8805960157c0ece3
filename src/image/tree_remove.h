// SPDX-License-Identifier: Apache-2.0
// Reading and removing below an open directory without following a symbolic link.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"

namespace mvm::image {

// Every name in a directory but "." and "..", sorted.
Result<std::vector<std::string>> names_in(int dir);

// Removes a file or a whole directory; a missing name is fine.
Result<> remove_at(int dir, const std::string& name);

}  // namespace mvm::image
