// SPDX-License-Identifier: Apache-2.0
// modules.dep and modules.builtin as an attacker would write them: split at the first NUL byte,
// parsed, resolved.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernel/initramfs.h"
#include "kernel/modules.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t split = std::min(text.find('\0'), text.size());
  const auto index = mvm::kernel::parse_modules(text.substr(0, split),
                                                text.substr(std::min(split + 1, text.size())));
  if (!index) return 0;
  (void)mvm::kernel::plan_modules(*index);
  for (const auto& [name, entry] : index->modules) (void)mvm::kernel::resolve(*index, {name});
  return 0;
}
