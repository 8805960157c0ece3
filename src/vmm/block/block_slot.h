// SPDX-License-Identifier: Apache-2.0
// Internal to this folder: what the two halves of BlockDevice share.
#pragma once

#include <array>

#include "vmm/block/block_device.h"

namespace mvm::vmm {

// A request that has been taken from the queue.
struct BlockDevice::Slot {
  Engine::Tag tag = 0;
  bool is_read = false;
  std::uint64_t offset = 0;  // in the file, of a read
  std::uint64_t bytes = 0;
  std::uint64_t done = 0;
  Chain chain;
  std::array<iovec, Chain::kMaxSegments> ranges;
};

}  // namespace mvm::vmm
