// SPDX-License-Identifier: Apache-2.0
// The name of a content of guest memory: it ties a state file to its memory file, and a diff to
// what it changes.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "sys/random.h"

namespace mvm::vmm {

struct SnapshotId {
  std::array<std::byte, 16> bytes{};

  static SnapshotId random() {
    SnapshotId out;
    const auto drawn = sys::random_bytes(out.bytes.size());
    std::copy(drawn.begin(), drawn.end(), out.bytes.begin());
    return out;
  }
  // All zero: no content.
  bool empty() const { return *this == SnapshotId{}; }
  friend bool operator==(const SnapshotId&, const SnapshotId&) = default;
};

}  // namespace mvm::vmm
