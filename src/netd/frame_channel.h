// SPDX-License-Identifier: Apache-2.0
// Where the guest's Ethernet frames come from and go to: a socket of ours that the VMM holds the
// other end of, or the host's side of a tap device.
//
// Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "core/result.h"

namespace mvm::netd {

// Enough for the largest IP packet with its Ethernet header and a tag.
constexpr std::size_t kMaxFrame = 65'550;
constexpr std::size_t kMinFrame = 14;  // an Ethernet header

class FrameChannel {
 public:
  using Take = std::function<void(std::span<const std::byte>)>;

  virtual ~FrameChannel() = default;
  // To be polled; owned by the caller of the constructor.
  virtual int fd() const = 0;
  // Hands on what has come; frames shorter than an Ethernet header are dropped. False at the end of
  // the channel.
  // Errors: kGuestFault for what cannot be a frame, after which the channel is of no use; recv's.
  virtual Result<bool> receive(const Take& take) = 0;
  // Sends or queues a frame; false when it was dropped.
  virtual bool send(std::span<const std::byte> frame) = 0;
  // Writes of the queue what fits. Errors: send's.
  virtual Result<> flush() = 0;
  virtual std::size_t queued() const = 0;  // Units: bytes
  // The sources of frames should pause: the guest does not read.
  virtual bool congested() const = 0;
  virtual std::uint64_t dropped() const = 0;  // Units: frames
};

}  // namespace mvm::netd
