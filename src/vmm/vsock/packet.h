// SPDX-License-Identifier: Apache-2.0
// The header that starts every vsock packet, and its checks.
//
// Source: VIRTIO 1.2, section 5.10.6.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "vmm/virtio/queue.h"

namespace mvm::vmm {

constexpr std::uint64_t kHostCid = 2;
constexpr std::uint16_t kStreamType = 1;
constexpr std::uint32_t kShutdownReceive = 1;  // flags of PacketOp::kShutdown
constexpr std::uint32_t kShutdownSend = 2;
constexpr std::uint32_t kShutdownBoth = kShutdownReceive | kShutdownSend;

enum class PacketOp : std::uint16_t {
  kRequest = 1,
  kResponse = 2,
  kReset = 3,
  kShutdown = 4,
  kData = 5,
  kCreditUpdate = 6,
  kCreditRequest = 7,
};

// The fields in wire order; op and type are what the guest wrote, not necessarily a known one.
struct PacketHeader {
  static constexpr std::size_t kSize = 44;

  std::uint64_t source_cid = 0;
  std::uint64_t destination_cid = 0;
  std::uint32_t source_port = 0;
  std::uint32_t destination_port = 0;
  std::uint32_t length = 0;
  std::uint16_t type = kStreamType;
  PacketOp op = PacketOp::kReset;
  std::uint32_t flags = 0;
  std::uint32_t buf_alloc = 0;
  std::uint32_t fwd_cnt = 0;

  bool operator==(const PacketHeader&) const = default;
};

using EncodedHeader = std::array<std::byte, PacketHeader::kSize>;

EncodedHeader encode(const PacketHeader& header);
PacketHeader decode(std::span<const std::byte, PacketHeader::kSize> raw);

// Why a packet of the guest cannot be taken as it is.
enum class PacketFault {
  kNone,
  kShort,    // no whole header: nothing of it can be believed
  kAddress,  // not from this guest, or not to the host
  kType,     // not a stream
  kLength,   // more payload announced than there is
};

struct CheckedPacket {
  PacketHeader header;  // meaningful unless kShort
  PacketFault fault = PacketFault::kNone;
};

// Copies the header out of a tx chain once and checks the copy.
CheckedPacket read_packet(const Chain& chain, std::uint64_t guest_cid);

}  // namespace mvm::vmm
