// SPDX-License-Identifier: Apache-2.0
// mvm.toml of somebody else's project: it is read, or refused with the file's name and a line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "spec/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto manifest = mvm::spec::parse_manifest(
      std::string_view(reinterpret_cast<const char*>(data), size), "mvm.toml");
  if (!manifest.has_value() && !manifest.error().text().starts_with("mvm.toml:")) std::abort();
  if (manifest.has_value() && manifest->source.what.empty()) std::abort();
  return 0;
}
