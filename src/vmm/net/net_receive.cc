// SPDX-License-Identifier: Apache-2.0
// Frames to the guest.
#include <algorithm>

#include "vmm/net/net_device.h"

namespace mvm::vmm {
namespace {

Error no_room() {
  return Error(Errc::kGuestFault, "network device: a receive buffer has no room for the header");
}

}  // namespace

void NetDevice::receive() {
  if (host_ == nullptr) return;
  Queue& queue = host_->queue(kReceive);
  const std::uint64_t before = stats_.rx_frames;
  queue.disarm();
  rx_state_ = Step::kDone;
  for (int budget = kBudget; rx_state_ == Step::kDone && budget > 0; --budget) {
    const Result<Step> step = receive_one(queue);
    if (!step) return give_up(step.error());
    rx_state_ = *step;
    // Buffers that have come meanwhile are not told any more.
    if (rx_state_ == Step::kStarved && queue.arm()) rx_state_ = Step::kDone;
  }
  if (host_ == nullptr) return;
  if (stats_.rx_frames != before) host_->signal_used(kReceive);
  if (rx_state_ == Step::kStarved) ++stats_.rx_no_buffer;
  if (rx_state_ == Step::kDone) schedule(rx_timer_, Millis(0), &NetDevice::receive);
  update_watch();
  if (mmds_ && host_ != nullptr) schedule_mmds();
}

Result<NetDevice::Step> NetDevice::receive_one(Queue& queue) {
  if (!frame_ && !choose_frame()) return Step::kIdle;
  if (!pay_for_frame()) return Step::kLimited;
  return (accepted_ & net_feature::kMergeBuffers) != 0 ? deliver_merged(queue) : deliver(queue);
}

// Answers of the metadata service go first: they are few.
bool NetDevice::choose_frame() {
  frame_from_mmds_ = mmds_ && mmds_->has_output();
  if (frame_from_mmds_) {
    frame_ = NetFrame{{}, mmds_->output()};
    return true;
  }
  if (!link_up_) return false;
  auto next = backend_->peek();
  if (!next) {
    take_link_down(next.error());
    return false;
  }
  frame_ = *next;
  return frame_.has_value();
}

bool NetDevice::pay_for_frame() {
  if (frame_paid_ || rx_limiter_.unlimited()) return true;
  const Millis wait = rx_limiter_.consume(frame_->bytes.size(), 1, Clock::now());
  frame_paid_ = wait.count() == 0;
  if (frame_paid_) return true;
  ++stats_.rx_limited;
  schedule(rx_timer_, wait, &NetDevice::receive);
  return false;
}

// Into one request.
Result<NetDevice::Step> NetDevice::deliver(Queue& queue) {
  if (!MVM_TRY(queue.pop(rx_first_))) return Step::kStarved;
  const std::size_t total = sizeof(NetHeader) + frame_->bytes.size();
  if (rx_first_.writable_bytes() < sizeof(NetHeader)) return no_room();
  if (rx_first_.writable_bytes() < total) {
    queue.undo_pop();
    frame_done(false);
    return Step::kDone;
  }
  NetHeader header = frame_->header;
  header.buffers = 1;
  rx_first_.write(0, std::as_bytes(std::span(&header, 1)));
  rx_first_.write(sizeof header, frame_->bytes);
  queue.push(rx_first_, static_cast<std::uint32_t>(total));
  frame_done(true);
  return Step::kDone;
}

// Into as many requests as it takes. When they run out, what there is stays staged and the rest
// follows.
Result<NetDevice::Step> NetDevice::deliver_merged(Queue& queue) {
  const std::size_t total = sizeof(NetHeader) + frame_->bytes.size();
  while (frame_delivered_ < total) {
    if (frame_buffers_ == queue.setup().size) {  // all that the guest can offer is too little
      queue.unstage();
      frame_done(false);
      return Step::kDone;
    }
    const bool first = frame_buffers_ == 0;
    Chain& chain = first ? rx_first_ : rx_more_;
    if (!MVM_TRY(queue.pop(chain))) return Step::kStarved;
    if (chain.writable_bytes() < (first ? sizeof(NetHeader) : 1)) return no_room();
    const std::size_t part =
        std::min<std::uint64_t>(chain.writable_bytes(), total - frame_delivered_);
    const std::size_t header = first ? sizeof(NetHeader) : 0;
    const std::size_t from = frame_delivered_ + header - sizeof(NetHeader);
    chain.write(header, frame_->bytes.subspan(from, part - header));
    queue.stage(chain, static_cast<std::uint32_t>(part));
    frame_delivered_ += part;
    ++frame_buffers_;
  }
  NetHeader header = frame_->header;
  header.buffers = frame_buffers_;
  rx_first_.write(0, std::as_bytes(std::span(&header, 1)));
  queue.publish();
  frame_done(true);
  return Step::kDone;
}

void NetDevice::frame_done(bool delivered) {
  if (delivered) {
    ++stats_.rx_frames;
    stats_.rx_bytes += frame_->bytes.size();
  } else {
    ++stats_.rx_dropped;
  }
  if (frame_from_mmds_)
    mmds_->pop_output(Clock::now());
  else
    backend_->consume();
  frame_.reset();
  frame_paid_ = false;
  frame_delivered_ = frame_buffers_ = 0;
}

}  // namespace mvm::vmm
