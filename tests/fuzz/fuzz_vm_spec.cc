// SPDX-License-Identifier: Apache-2.0
// A machine's specification: what is read and written once must read the same again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "spec/vm_spec_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto vm =
      mvm::spec::vm_spec_from_json(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!vm.has_value()) return 0;
  const std::string text = mvm::spec::to_json(*vm);
  const auto again = mvm::spec::vm_spec_from_json(text);
  if (!again.has_value() || mvm::spec::to_json(*again) != text) std::abort();
  return 0;
}
