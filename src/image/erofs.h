// SPDX-License-Identifier: Apache-2.0
// A directory into an EROFS image by mkfs.erofs, the same bytes every time.
//
// What could make two runs differ is fixed: the volume's UUID, its build time, and by TreeWriter
// the times of directories. Not compressed: under emulation reading is cheaper than unpacking
// (docs/formats/image.md).
#pragma once

#include <string>

#include "core/result.h"

namespace mvm::image {

// Errors: kUnavailable when mkfs.erofs is missing, kNoSpace naming the directory of `output`.
Result<> make_erofs(const std::string& tree, const std::string& output);

}  // namespace mvm::image
