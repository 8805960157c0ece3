// SPDX-License-Identifier: Apache-2.0
#include "vmm/vsock/rx_ring.h"

#include <algorithm>

namespace mvm::vmm {

Result<std::size_t> RxRing::take(std::size_t wanted) {
  held_ = finished_ = 0;
  // Bounded, for a guest that goes on adding useless buffers.
  for (std::size_t tries = queue_->max_size(); held_ < wanted && tries > 0; --tries) {
    Chain& chain = chains_[held_];
    if (!MVM_TRY(queue_->pop(chain))) break;
    if (chain.writable_bytes() > PacketHeader::kSize) {
      ++held_;
      continue;
    }
    // In the middle of a batch it must wait: what is released goes back in order.
    if (held_ > 0) {
      queue_->undo_pop();
      break;
    }
    ++metrics_.small_rx_buffers;
    queue_->push(chain, 0);
  }
  return held_;
}

std::span<const iovec> RxRing::payload(std::uint32_t most) {
  std::size_t used = 0;
  for (std::size_t i = 0; i < held_; ++i) {
    const std::size_t count =
        chains_[i].writable_slice(PacketHeader::kSize, most, std::span(parts_).subspan(used));
    rooms_[i] = 0;
    for (std::size_t part = used; part < used + count; ++part)
      rooms_[i] += static_cast<std::uint32_t>(parts_[part].iov_len);
    used += count;
    most -= rooms_[i];
  }
  return {parts_.data(), used};
}

void RxRing::finish(const PacketHeader& header) {
  const Chain& chain = chains_[finished_++];
  chain.write(0, encode(header));
  queue_->push(chain, static_cast<std::uint32_t>(PacketHeader::kSize) + header.length);
  ++metrics_.rx_packets_count;
}

void RxRing::release() {
  for (std::size_t i = finished_; i < held_; ++i) queue_->undo_pop();
  held_ = finished_ = 0;
}

}  // namespace mvm::vmm
