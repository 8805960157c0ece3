// SPDX-License-Identifier: Apache-2.0
// A tap device in a network namespace of its own, for a VMM that knows no other network: the VMM is
// started in that namespace and opens the device by its name, we have a packet socket on it.
//
// Nothing of the host's network is changed, and no privilege is taken where user namespaces are
// allowed. Namespace and device are gone when no process is left in the one and no descriptor
// refers to it.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "netd/frame_channel.h"
#include "sys/unique_fd.h"

namespace mvm::netd {

struct TapLink {
  sys::UniqueFd packets;         // packet socket on the device, with virtio-net headers
  sys::UniqueFd user_namespace;  // owner of the next one; invalid when we could do without
  sys::UniqueFd network_namespace;
};

// Makes the device `name`, which `owner` may open. Forks: the process must have one thread.
// Errors: kUnavailable where neither we nor a user namespace may do it; the refused call's.
Result<TapLink> make_tap_link(const std::string& name, uid_t owner);

// What stands before each frame of such a socket. Source: VIRTIO 1.2, 5.1.6, the legacy header.
struct PacketHeader {
  static constexpr std::uint8_t kNeedsChecksum = 1;
  std::uint8_t flags = 0;
  std::uint8_t segmentation = 0;  // what a frame of more than the MTU is to be cut into
  std::uint16_t header_length = 0;
  std::uint16_t segment_size = 0;
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
};
static_assert(sizeof(PacketHeader) == 10);

class PacketChannel final : public FrameChannel {
 public:
  // A socket as TapLink has it, which the caller keeps.
  explicit PacketChannel(int fd);

  int fd() const override { return fd_; }
  // Reads what is there, up to a bound. A guest leaves checksums to the hardware, which we are.
  Result<bool> receive(const Take& take) override;
  // What the device has no room for is dropped, as on any wire.
  bool send(std::span<const std::byte> frame) override;
  Result<> flush() override { return {}; }
  std::size_t queued() const override { return 0; }
  bool congested() const override { return false; }
  std::uint64_t dropped() const override { return dropped_; }

 private:
  int fd_;
  std::unique_ptr<std::byte[]> buffer_;  // a header and a frame
  std::uint64_t dropped_ = 0;
};

// Fills in the checksum that its header says is missing: the one's complement sum from `start` to
// the end, at `start` + `offset`. False when that is not within the frame. Pure.
// Source: VIRTIO 1.2, 5.1.6.2, VIRTIO_NET_HDR_F_NEEDS_CSUM.
bool complete_checksum(std::span<std::byte> frame, std::size_t start, std::size_t offset);

}  // namespace mvm::netd
