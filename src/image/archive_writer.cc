// SPDX-License-Identifier: Apache-2.0
#include "image/archive_writer.h"

#include <cerrno>

namespace mvm::image {

Error writer_error(archive* handle, const std::string& path) {
  const int code = archive_errno(handle);
  return Error::from_errno("write " + path, code > 0 ? code : EIO);
}

}  // namespace mvm::image
