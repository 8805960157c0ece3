// SPDX-License-Identifier: Apache-2.0
// Cheap marks of local sources: equal marks mean the image in the catalogue is still the right one.
//
// A file is marked by device, inode, size, mtime and ctime; a directory by these of everything
// below it, with names, modes and owners. ctime cannot be set back, so an edited file always
// changes the mark.
#pragma once

#include <string>

#include "core/result.h"

namespace mvm::image {

// "stat:…". Errors: kNotFound naming the path.
Result<std::string> file_fingerprint(const std::string& path);
// "tree:…". Errors: kNotFound, kInvalidArgument when it is not a directory.
Result<std::string> directory_fingerprint(const std::string& path);

}  // namespace mvm::image
