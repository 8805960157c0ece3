// SPDX-License-Identifier: Apache-2.0
// The configuration file: whatever is accepted must be accepted again as we write it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "workflow/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using mvm::workflow::Config;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = Config::parse(text, "config.toml");
  if (!config.has_value()) return 0;
  const std::string written = config->to_toml();
  const auto again = Config::parse(written, "config.toml");
  if (!again.has_value() || again->to_toml() != written) std::abort();
  return 0;
}
