// SPDX-License-Identifier: Apache-2.0
// The host's side of a network device: something that takes and gives Ethernet frames.
//
// Source: VIRTIO 1.2, section 5.1 (feature bits, header).
// Threads: none; the device's lock serialises.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/result.h"

namespace mvm::vmm {

// What precedes each frame in a virtqueue. <linux/virtio_net.h> is not valid C++.
// Shape: 12 bytes, little-endian. Source: VIRTIO 1.2, section 5.1.6.
struct NetHeader {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t header_length = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
  std::uint16_t buffers = 0;  // receive only: how many requests the frame takes
};
static_assert(sizeof(NetHeader) == 12);

constexpr std::uint8_t kHeaderNeedsChecksum = 1;
constexpr std::uint8_t kGsoNone = 0;
constexpr std::uint8_t kGsoTcp4 = 1;
constexpr std::uint8_t kGsoUdp = 3;
constexpr std::uint8_t kGsoTcp6 = 4;
constexpr std::uint8_t kGsoEcn = 0x80;

// Feature bits.
namespace net_feature {
constexpr std::uint64_t kChecksum = 1ULL << 0;
constexpr std::uint64_t kGuestChecksum = 1ULL << 1;
constexpr std::uint64_t kMtu = 1ULL << 3;
constexpr std::uint64_t kMac = 1ULL << 5;
constexpr std::uint64_t kGuestTso4 = 1ULL << 7;
constexpr std::uint64_t kGuestTso6 = 1ULL << 8;
constexpr std::uint64_t kGuestEcn = 1ULL << 9;
constexpr std::uint64_t kGuestUfo = 1ULL << 10;
constexpr std::uint64_t kHostTso4 = 1ULL << 11;
constexpr std::uint64_t kHostTso6 = 1ULL << 12;
constexpr std::uint64_t kHostEcn = 1ULL << 13;
constexpr std::uint64_t kHostUfo = 1ULL << 14;
constexpr std::uint64_t kMergeBuffers = 1ULL << 15;
constexpr std::uint64_t kStatus = 1ULL << 16;
// What depends on the backend.
constexpr std::uint64_t kOffloads = kChecksum | kGuestChecksum | kGuestTso4 | kGuestTso6 |
                                    kGuestEcn | kGuestUfo | kHostTso4 | kHostTso6 | kHostEcn |
                                    kHostUfo;
}  // namespace net_feature

// The shortest frame has an Ethernet header; the longest an IP packet of 65,535 bytes and a tag.
constexpr std::size_t kMinFrame = 14;
constexpr std::size_t kMaxFrame = 65'553;

// A frame from the host; `bytes` stays valid until it is consumed.
struct NetFrame {
  NetHeader header;
  std::span<const std::byte> bytes;
};

class NetBackend {
 public:
  enum class Sent {
    kYes,
    kFull,     // try again when fd() is writable
    kRefused,  // this frame will never go out
  };
  virtual ~NetBackend() = default;
  // To be watched: readable when there may be frames, writable when there is room.
  virtual int fd() const = 0;
  // Which of net_feature::kOffloads this host's side can do.
  virtual std::uint64_t offloads() const = 0;
  // Those that the driver has accepted. Errors: kUnsupported.
  virtual Result<> set_offloads(std::uint64_t accepted) = 0;
  // The next frame, the same until consume(); nothing when there is none now.
  // Errors: the host's side is gone for good.
  virtual Result<std::optional<NetFrame>> peek() = 0;
  virtual void consume() = 0;
  // Takes a frame, from kMinFrame to kMaxFrame bytes in `size`, perhaps to send it with flush().
  // Errors: the host's side is gone for good.
  virtual Result<Sent> send(const NetHeader& header, std::span<const iovec> frame,
                            std::size_t size) = 0;
  // Sends what was taken, as far as it goes. Errors: the host's side is gone for good.
  virtual Result<> flush() = 0;
  // Bytes that were taken and wait for fd() to be writable.
  virtual std::size_t unsent() const = 0;
};

}  // namespace mvm::vmm
