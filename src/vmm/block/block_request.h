// SPDX-License-Identifier: Apache-2.0
// The guest's requests to a disk, taken apart and checked.
//
// Shape: header (type u32, reserved u32, sector u64), then the data, then one status byte; the
// header is the start of the readable part and the status the end of the writable one, however
// they are spread over descriptors.
// Source: VIRTIO 1.2, section 5.2.6.
#pragma once

#include <array>
#include <cstdint>

#include "core/result.h"
#include "vmm/virtio/queue.h"

namespace mvm::vmm {

enum class BlockOp : std::uint32_t {
  kRead = 0,
  kWrite = 1,
  kFlush = 4,
  kGetId = 8,
  kDiscard = 11,
  kWriteZeroes = 13,
};

enum class BlockStatus : std::uint8_t { kOk = 0, kIoError = 1, kUnsupported = 2 };

constexpr std::size_t kBlockHeaderSize = 16;
constexpr std::size_t kBlockIdSize = 20;
constexpr std::uint32_t kMaxRanges = 32;  // of one discard or write-zeroes request
constexpr std::uint32_t kMaxDiscardSectors = 1U << 22;
constexpr std::uint32_t kMaxZeroSectors = 1U << 15;

struct BlockRequest {
  BlockOp op = BlockOp::kRead;  // possibly none of the above
  std::uint64_t sector = 0;
  std::uint64_t data_bytes = 0;  // of the part that the operation uses
};

// Errors: kGuestFault when there is no byte for a status, and so no way to answer.
// A header that is too short gives an operation that does not exist.
Result<BlockRequest> parse_block_request(const Chain& chain);

// Whether the data are whole sectors, at least one, of a disk of `capacity` sectors.
bool inside_disk(const BlockRequest& request, std::uint64_t capacity);

// One range of a discard or write-zeroes request.
struct BlockRange {
  std::uint64_t sector = 0;
  std::uint32_t sectors = 0;
  bool unmap = false;
};
struct BlockRanges {
  std::array<BlockRange, kMaxRanges> ranges;
  std::size_t count = 0;
};
// All ranges are checked before any is acted upon. Returns kOk, or the status to answer with.
BlockStatus parse_block_ranges(const Chain& chain, const BlockRequest& request,
                               std::uint64_t capacity, BlockRanges& out);

}  // namespace mvm::vmm
