// SPDX-License-Identifier: Apache-2.0
#include "vmm/vsock/packet.h"

#include <bit>
#include <cstddef>
#include <cstring>
#include <type_traits>

namespace mvm::vmm {

// The struct's own layout is the wire's: every field lies at its natural alignment, and both
// architectures that mvm-vmm runs on are little-endian.
static_assert(std::endian::native == std::endian::little);
static_assert(std::is_trivially_copyable_v<PacketHeader>);
static_assert(offsetof(PacketHeader, type) == 28 && offsetof(PacketHeader, op) == 30);
static_assert(offsetof(PacketHeader, fwd_cnt) + sizeof(std::uint32_t) == PacketHeader::kSize);

EncodedHeader encode(const PacketHeader& header) {
  EncodedHeader out;
  std::memcpy(out.data(), &header, out.size());
  return out;
}

PacketHeader decode(std::span<const std::byte, PacketHeader::kSize> raw) {
  PacketHeader out;
  std::memcpy(static_cast<void*>(&out), raw.data(), raw.size());
  return out;
}

CheckedPacket read_packet(const Chain& chain, std::uint64_t guest_cid) {
  CheckedPacket out;
  EncodedHeader raw;
  if (chain.read(0, raw) != raw.size()) {
    out.fault = PacketFault::kShort;
    return out;
  }
  out.header = decode(raw);
  if (out.header.source_cid != guest_cid || out.header.destination_cid != kHostCid)
    out.fault = PacketFault::kAddress;
  else if (out.header.type != kStreamType)
    out.fault = PacketFault::kType;
  else if (out.header.length > chain.readable_bytes() - PacketHeader::kSize)
    out.fault = PacketFault::kLength;
  return out;
}

}  // namespace mvm::vmm
