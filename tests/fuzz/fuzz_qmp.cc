// SPDX-License-Identifier: Apache-2.0
// What an engine says on its control socket, line by line.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backend/qemu/qmp.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)mvm::backend::qemu::parse_qmp(std::string_view(reinterpret_cast<const char*>(data), size))
      .has_value();
  return 0;
}
