// SPDX-License-Identifier: Apache-2.0
// The bounds on what an image may hold. Everything read from an image is checked against one of
// these.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/units.h"

namespace mvm::image {

inline constexpr Bytes kMaxIndexSize = mebibytes(4);
inline constexpr Bytes kMaxManifestSize = mebibytes(4);
inline constexpr Bytes kMaxConfigSize = mebibytes(4);
inline constexpr std::size_t kMaxLayers = 256;
inline constexpr std::size_t kMaxIndexNesting = 4;
inline constexpr Bytes kMaxLayerSize = gibibytes(64);  // compressed
inline constexpr std::size_t kMaxPathLength = 4000;  // PATH_MAX less what mkfs.erofs puts before it
inline constexpr std::size_t kMaxNameLength = 255;
inline constexpr std::size_t kMaxPathDepth = 256;
inline constexpr std::size_t kMaxXattrSize = std::size_t{64} << 10;
inline constexpr std::size_t kMaxXattrsPerEntry = 64;
inline constexpr std::size_t kMaxSourceLength = 4096;

// The bounds on a whole tree; tests and fuzzers lower them.
struct UnpackLimits {
  Bytes total = gibibytes(64);  // sum of file sizes over all layers
  std::uint64_t entries = 4'000'000;
};

}  // namespace mvm::image
