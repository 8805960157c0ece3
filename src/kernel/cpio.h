// SPDX-License-Identifier: Apache-2.0
// Writes a newc cpio archive as the kernel unpacks it. The same entries give the same bytes.
//
// Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace mvm::kernel {

struct CpioEntry {
  std::string path;  // without a leading slash
  unsigned mode;     // type and permissions: S_IFDIR | 0755
  std::string data;
};

// Owner 0:0, time 0, entries in the order given.
Result<> write_cpio(int fd, const std::vector<CpioEntry>& entries);

}  // namespace mvm::kernel
