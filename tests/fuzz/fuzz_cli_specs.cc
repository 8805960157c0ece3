// SPDX-License-Identifier: Apache-2.0
// The small languages of option values: sizes, durations, forwards, restart policies.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/units.h"
#include "spec/words.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto bytes = mvm::parse_size(text);
  if (bytes.has_value() && !mvm::parse_size(std::to_string(bytes->count)).has_value()) std::abort();
  (void)mvm::parse_duration(text).has_value();
  (void)mvm::spec::parse_forward(text).has_value();
  (void)mvm::spec::parse_restart(text).has_value();
  return 0;
}
