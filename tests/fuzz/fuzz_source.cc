// SPDX-License-Identifier: Apache-2.0
// What a user types as an image: whatever is accepted must be accepted again in its normal form.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "image/source.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto source =
      mvm::image::parse_source(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!source.has_value()) return 0;
  const auto again = mvm::image::parse_source(source->ref());
  if (!again.has_value() || again->ref() != source->ref()) std::abort();
  return 0;
}
