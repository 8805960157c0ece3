// SPDX-License-Identifier: Apache-2.0
// A machine's status file, as another process or a dying disk may have left it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "supervisor/status.h"
#include "sys/files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto dir = mvm::sys::TempDir::create("/tmp", "mvm-fuzz-");
  if (!dir.has_value()) std::abort();
  const std::string path = mvm::supervisor::status_path(dir->path());
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (!mvm::sys::write_atomic(path, text).has_value()) std::abort();
  (void)mvm::supervisor::read_status(dir->path()).has_value();
  return 0;
}
