// SPDX-License-Identifier: Apache-2.0
// The JSON documents of an OCI image. The first byte chooses the document.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "image/oci_manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 3) {
    case 0: {
      const auto index = mvm::image::parse_index(text);
      if (index.has_value())
        (void)mvm::image::choose(*index, "1", mvm::spec::Arch::kX86_64).has_value();
      if (index.has_value())
        (void)mvm::image::choose(*index, "", mvm::spec::Arch::kAarch64).has_value();
      break;
    }
    case 1:
      (void)mvm::image::parse_manifest(text).has_value();
      break;
    default:
      (void)mvm::image::parse_image_document(text).has_value();
      break;
  }
  return 0;
}
