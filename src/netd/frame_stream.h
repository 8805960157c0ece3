// SPDX-License-Identifier: Apache-2.0
// Ethernet frames over a unix stream socket: each is a 32-bit big-endian length and the frame, as
// QEMU's `-netdev stream` frames them.
//
// A stream, not a sequence of packets: one read or write carries many frames, which for frames of
// 1,514 bytes costs a quarter of what recvmmsg(2) and sendmmsg(2) cost over SOCK_SEQPACKET; frames
// of 64 KiB cost the same on either.
//
// Threads: one.
#pragma once

#include <memory>
#include <vector>

#include "netd/frame_channel.h"

namespace mvm::netd {

class FrameStream final : public FrameChannel {
 public:
  // Above this much unsent the sources of frames should pause, and above kMaxQueued frames are
  // dropped: the peer does not read.
  static constexpr std::size_t kCongested = 1U << 20;
  static constexpr std::size_t kMaxQueued = 4U << 20;

  // A connected SOCK_STREAM socket that the caller keeps; it is made non-blocking.
  explicit FrameStream(int fd);

  int fd() const override { return fd_; }
  // Reads once and hands on every whole frame.
  Result<bool> receive(const Take& take) override;
  // Queues a frame, or sends it at once when it is large and nothing is before it; false when it
  // was dropped (too long, or too much queued).
  bool send(std::span<const std::byte> frame) override;
  Result<> flush() override;
  std::size_t queued() const override { return out_.size() - sent_; }
  bool congested() const override { return queued() > kCongested; }
  std::uint64_t dropped() const override { return dropped_; }

 private:
  Result<> deliver(const Take& take);
  std::size_t send_direct(std::span<const std::byte> header, std::span<const std::byte> frame);

  int fd_;
  std::unique_ptr<std::byte[]> in_;  // kReadSize bytes, touched as far as they are used
  std::size_t filled_ = 0;           // bytes of in_ that were read and not handed on
  std::vector<std::byte> out_;
  std::size_t sent_ = 0;  // bytes of out_ that the socket has taken
  std::uint64_t dropped_ = 0;
};

}  // namespace mvm::netd
