// SPDX-License-Identifier: Apache-2.0
// The digest of a file without reading it twice: a small note keyed by the file's identity.
#pragma once

#include <string>

#include "core/result.h"

namespace mvm::kernel {

// SHA-256 of `path`. Device, inode, size, mtime and ctime (ns) are compared with a note below
// `cache_dir`/memo; only when they differ is the file read. A note that cannot be written costs
// time, not success.
Result<std::string> memo_digest(const std::string& cache_dir, const std::string& path);

}  // namespace mvm::kernel
