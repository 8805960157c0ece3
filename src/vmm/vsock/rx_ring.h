// SPDX-License-Identifier: Apache-2.0
// The guest's rx buffers, taken several at a time so that one read fills all of them.
//
//   take(n) ──▶ payload() ──▶ finish() each in turn ──▶ release() gives the untouched ones back
//
// Threads: none; the device's lock.
#pragma once

#include <array>
#include <memory>
#include <span>

#include "vmm/virtio/queue.h"
#include "vmm/vsock/metrics.h"
#include "vmm/vsock/packet.h"

namespace mvm::vmm {

class RxRing {
 public:
  // 64 KiB in the 4 KiB buffers of Linux; measured twice as fast as a read for each buffer.
  static constexpr std::size_t kMost = 16;

  explicit RxRing(VsockMetrics& metrics) : metrics_(metrics) {}
  void attach(Queue* queue) { queue_ = queue; }

  // Takes up to `wanted` buffers that have room for a header and a byte; smaller ones go back to
  // the guest unused. Returns how many are held; 0: the guest has given none. Errors: kGuestFault.
  Result<std::size_t> take(std::size_t wanted);
  // The room behind the headers of the held buffers, up to `most` bytes.
  std::span<const iovec> payload(std::uint32_t most);
  // How many bytes of payload() belong to the next buffer.
  std::uint32_t room() const { return rooms_[finished_]; }
  // Completes the next buffer with its header; `length` bytes of payload are there already.
  void finish(const PacketHeader& header);
  std::size_t finished() const { return finished_; }
  // Buffers not finished stay the guest's to be taken again.
  void release();

 private:
  VsockMetrics& metrics_;
  Queue* queue_ = nullptr;
  // Large, and only what is used is ever touched.
  std::unique_ptr<Chain[]> chains_ = std::make_unique_for_overwrite<Chain[]>(kMost);
  std::array<iovec, Chain::kMaxSegments> parts_;
  std::array<std::uint32_t, kMost> rooms_{};
  std::size_t held_ = 0;
  std::size_t finished_ = 0;
};

}  // namespace mvm::vmm
