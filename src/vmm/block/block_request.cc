// SPDX-License-Identifier: Apache-2.0
#include "vmm/block/block_request.h"

#include <span>

#include "vmm/block/disk_file.h"

namespace mvm::vmm {
namespace {

constexpr std::uint32_t kNoOperation = 0xffff'ffff;
constexpr std::uint32_t kUnmap = 1;

struct Header {
  std::uint32_t type;
  std::uint32_t reserved;
  std::uint64_t sector;
};
static_assert(sizeof(Header) == kBlockHeaderSize);

struct RangeEntry {
  std::uint64_t sector;
  std::uint32_t sectors;
  std::uint32_t flags;
};
static_assert(sizeof(RangeEntry) == 16);

bool is_inside(std::uint64_t sector, std::uint64_t sectors, std::uint64_t capacity) {
  return sector <= capacity && sectors <= capacity - sector;
}

}  // namespace

Result<BlockRequest> parse_block_request(const Chain& chain) {
  if (chain.writable_bytes() == 0)
    return Error(Errc::kGuestFault, "block: a request without a status byte");
  BlockRequest out;
  Header header{};
  if (chain.read(0, std::as_writable_bytes(std::span(&header, 1))) != sizeof header) {
    out.op = static_cast<BlockOp>(kNoOperation);
    return out;
  }
  out.op = static_cast<BlockOp>(header.type);
  out.sector = header.sector;
  const bool from_device = out.op == BlockOp::kRead || out.op == BlockOp::kGetId;
  out.data_bytes =
      from_device ? chain.writable_bytes() - 1 : chain.readable_bytes() - kBlockHeaderSize;
  return out;
}

bool inside_disk(const BlockRequest& request, std::uint64_t capacity) {
  return request.data_bytes > 0 && request.data_bytes % kSectorSize == 0 &&
         is_inside(request.sector, request.data_bytes / kSectorSize, capacity);
}

BlockStatus parse_block_ranges(const Chain& chain, const BlockRequest& request,
                               std::uint64_t capacity, BlockRanges& out) {
  out.count = 0;
  const std::uint64_t count = request.data_bytes / sizeof(RangeEntry);
  if (count == 0 || count > kMaxRanges || request.data_bytes % sizeof(RangeEntry) != 0)
    return BlockStatus::kIoError;
  const bool zeroes = request.op == BlockOp::kWriteZeroes;
  const std::uint32_t most = zeroes ? kMaxZeroSectors : kMaxDiscardSectors;
  for (std::uint64_t i = 0; i < count; ++i) {
    RangeEntry entry{};
    chain.read(kBlockHeaderSize + i * sizeof entry, std::as_writable_bytes(std::span(&entry, 1)));
    // Only write-zeroes may ask to unmap, and no other flag exists.
    if ((entry.flags & ~(zeroes ? kUnmap : 0)) != 0) return BlockStatus::kUnsupported;
    if (entry.sectors > most || !is_inside(entry.sector, entry.sectors, capacity))
      return BlockStatus::kIoError;
    out.ranges[out.count++] = {entry.sector, entry.sectors, entry.flags == kUnmap};
  }
  return BlockStatus::kOk;
}

}  // namespace mvm::vmm
