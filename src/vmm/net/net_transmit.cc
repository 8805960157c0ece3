// SPDX-License-Identifier: Apache-2.0
// Frames from the guest.
#include "vmm/net/net_device.h"

namespace mvm::vmm {

void NetDevice::resume_transmit() {
  tx_state_ = Step::kIdle;
  transmit();
}

void NetDevice::transmit() {
  if (host_ == nullptr || tx_state_ == Step::kBlocked || tx_state_ == Step::kLimited) return;
  const std::uint64_t before = stats_.tx_frames + stats_.tx_dropped;
  const Result<Step> step = transmit_batch(host_->queue(kTransmit));
  if (!step) return give_up(step.error());
  tx_state_ = *step;
  flush();
  if (host_ == nullptr) return;
  if (stats_.tx_frames + stats_.tx_dropped != before) host_->signal_used(kTransmit);
  if (tx_state_ == Step::kDone) schedule(tx_timer_, Millis(0), &NetDevice::resume_transmit);
  update_watch();
  if (!mmds_) return;
  schedule_mmds();
  if (mmds_->has_output()) receive();
}

// kDone: there may be more.
Result<NetDevice::Step> NetDevice::transmit_batch(Queue& queue) {
  queue.disarm();
  for (int budget = kBudget; budget > 0; --budget) {
    if (!MVM_TRY(queue.pop(tx_chain_))) {
      if (queue.arm()) continue;
      return Step::kIdle;
    }
    const Step step = MVM_TRY(transmit_one());
    if (step != Step::kDone) {
      queue.undo_pop();
      return step;
    }
    head_paid_ = false;
    queue.push(tx_chain_, 0);
  }
  return Step::kDone;
}

Result<NetDevice::Step> NetDevice::transmit_one() {
  NetHeader header;
  if (tx_chain_.read(0, std::as_writable_bytes(std::span(&header, 1))) != sizeof header)
    return Error(Errc::kGuestFault, "network device: a frame without its header");
  const std::size_t size = tx_chain_.readable_bytes() - sizeof header;
  if (size < kMinFrame || size > kMaxFrame || !header_allowed(header)) {
    ++stats_.tx_dropped;
    return Step::kDone;
  }
  if (!pay_for_head(size)) return Step::kLimited;
  const std::size_t count = tx_chain_.readable_slice(sizeof header, size, tx_segments_);
  const std::span<const iovec> frame(tx_segments_.data(), count);
  auto sent = Result<NetBackend::Sent>(NetBackend::Sent::kYes);
  if (!detour(header, size)) {
    sent = link_up_ ? backend_->send(header, frame, size) : NetBackend::Sent::kRefused;
  }
  if (!sent) take_link_down(sent.error());
  const auto how = sent.value_or(NetBackend::Sent::kRefused);
  if (how == NetBackend::Sent::kFull) {
    ++stats_.tx_blocked;
    return Step::kBlocked;
  }
  if (how == NetBackend::Sent::kRefused) {
    ++stats_.tx_dropped;
  } else {
    ++stats_.tx_frames;
    stats_.tx_bytes += size;
  }
  return Step::kDone;
}

bool NetDevice::pay_for_head(std::size_t size) {
  if (head_paid_ || tx_limiter_.unlimited()) return true;
  const Millis wait = tx_limiter_.consume(size, 1, Clock::now());
  head_paid_ = wait.count() == 0;
  if (head_paid_) return true;
  ++stats_.tx_limited;
  schedule(tx_timer_, wait, &NetDevice::resume_transmit);
  return false;
}

// Nothing but what was negotiated. Source: VIRTIO 1.2, section 5.1.6.2.
bool NetDevice::header_allowed(const NetHeader& header) const {
  const auto has = [this](std::uint64_t feature) { return (accepted_ & feature) != 0; };
  if ((header.flags & kHeaderNeedsChecksum) != 0 && !has(net_feature::kChecksum)) return false;
  if ((header.gso_type & kGsoEcn) != 0 && !has(net_feature::kHostEcn)) return false;
  switch (header.gso_type & ~kGsoEcn) {
    case kGsoNone:
      return true;
    case kGsoTcp4:
      return has(net_feature::kHostTso4);
    case kGsoTcp6:
      return has(net_feature::kHostTso6);
    case kGsoUdp:
      return has(net_feature::kHostUfo);
    default:
      return false;
  }
}

// Whether the frame was for the metadata service.
bool NetDevice::detour(const NetHeader& header, std::size_t size) {
  if (!mmds_) return false;
  std::array<std::byte, MmdsStack::kClaimBytes> start;
  const std::size_t got = tx_chain_.read(sizeof header, start);
  if (!mmds_->claims(std::span(start).first(got))) return false;
  const auto frame = std::span(detour_).first(size);
  tx_chain_.read(sizeof header, frame);
  const bool partial = (header.flags & kHeaderNeedsChecksum) != 0;
  mmds_->input(frame, partial ? MmdsStack::Checksum::kPartial : MmdsStack::Checksum::kWhole,
               Clock::now());
  ++stats_.mmds_frames;
  return true;
}

void NetDevice::flush() {
  if (!link_up_) return;
  if (const auto flushed = backend_->flush(); !flushed) take_link_down(flushed.error());
}

}  // namespace mvm::vmm
