// SPDX-License-Identifier: Apache-2.0
#include "vmm/vsock/vsock_device.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/log.h"

namespace mvm::vmm {
namespace {

constexpr std::array<std::uint16_t, 3> kQueueSizes = {256, 256, 64};
constexpr std::uint32_t kTransportReset = 0;
constexpr std::uint64_t kMostCid = 0xffff'fffe;  // the last one stands for "any"

// In one turn of the loop, for the other devices' sake.
constexpr std::size_t kMostTxChains = 128;
// After so many packets of the guest what it is owed is sent, in a batch that may be 128 long.
constexpr std::size_t kCreditTurns = 8;
constexpr std::size_t kMostRxTurns = 64;
// So much data is worth an interrupt before the rest follows: the guest can begin with it.
constexpr std::size_t kSignalTurns = 4;

struct SavedState {
  std::uint64_t guest_cid = 0;
  std::string path;
  std::uint32_t last_port = 0;
  std::uint32_t events_unhandled = 0;
  bool was_active = false;
};

Result<SavedState> read_state(ByteReader& in) {
  SavedState out;
  out.guest_cid = in.number<std::uint64_t>();
  out.path = in.text(VsockDevice::kMostPath);
  out.last_port = in.number<std::uint32_t>();
  out.events_unhandled = in.number<std::uint32_t>();
  out.was_active = in.boolean();
  if (!in.ok() || out.last_port < Muxer::kFirstPort - 1 || out.last_port >= 2 * Muxer::kFirstPort ||
      out.events_unhandled > kQueueSizes[VsockDevice::kEvent])
    return Error(Errc::kCorrupt, "saved state of the vsock device");
  return out;
}

}  // namespace

Result<std::unique_ptr<VsockDevice>> VsockDevice::create(std::uint64_t guest_cid,
                                                         const std::string& uds_path) {
  if (guest_cid < kLeastCid || guest_cid > kMostCid)
    return Error(Errc::kInvalidArgument, "guest_cid " + std::to_string(guest_cid) +
                                             " is not between " + std::to_string(kLeastCid) +
                                             " and " + std::to_string(kMostCid));
  if (uds_path.size() > kMostPath)
    return Error(Errc::kInvalidArgument, "the vsock's socket path is too long");
  BoundSocket socket = MVM_TRY_CTX(BoundSocket::create(uds_path), "vsock");
  return std::unique_ptr<VsockDevice>(new VsockDevice(guest_cid, std::move(socket)));
}

Result<std::unique_ptr<VsockDevice>> VsockDevice::create_restored(
    ByteReader& in, const std::optional<std::string>& override_path) {
  ByteReader ahead = in;
  const SavedState state = MVM_TRY(read_state(ahead));
  auto out = MVM_TRY(create(state.guest_cid, override_path.value_or(state.path)));
  MVM_TRY(out->restore(in));
  return out;
}

VsockDevice::VsockDevice(std::uint64_t guest_cid, BoundSocket socket)
    : guest_cid_(guest_cid),
      muxer_(guest_cid, std::move(socket), metrics_, [this] { process_rx(); }),
      ring_(metrics_) {}

VsockDevice::~VsockDevice() { reset(); }

std::span<const std::uint16_t> VsockDevice::queue_sizes() const { return kQueueSizes; }

void VsockDevice::read_config(std::uint32_t offset, std::span<std::byte> out) const {
  std::ranges::fill(out, std::byte{0});
  const auto config = std::as_bytes(std::span(&guest_cid_, 1));
  if (offset >= config.size()) return;
  const auto part = config.subspan(offset, std::min(out.size(), config.size() - offset));
  std::ranges::copy(part, out.begin());
}

Result<> VsockDevice::activate(DeviceHost& host) {
  reset();
  if (!host.queue(kRx).enabled() || !host.queue(kTx).enabled()) {
    ++metrics_.activate_fails;
    return Error(Errc::kGuestFault, "vsock: the rx or the tx queue is not set up");
  }
  if (auto started = muxer_.start(host); !started) {
    ++metrics_.activate_fails;
    muxer_.stop();
    return started.error();
  }
  host_ = &host;
  ring_.attach(&host.queue(kRx));
  host.queue(kRx).disarm();
  if (!host.queue(kEvent).enabled()) reset_event_owed_ = false;
  return {};
}

void VsockDevice::reset() {
  if (host_ == nullptr) return;
  muxer_.stop();
  if (later_set_) host_->cancel(later_);
  later_set_ = more_tx_ = reset_event_owed_ = false;
  events_expected_ = events_unhandled_ = 0;
  ring_.attach(nullptr);
  host_ = nullptr;
}

void VsockDevice::notify(std::size_t queue) {
  if (host_ == nullptr) return;
  // Not before the first notification: a restored guest's interrupts may not work earlier.
  if (queue == kEvent || reset_event_owed_) process_events();
  if (queue == kTx) {
    ++metrics_.tx_queue_event_count;
    process_tx();
  } else if (queue == kRx) {
    ++metrics_.rx_queue_event_count;
    process_rx();
  }
}

void VsockDevice::fail(const Error& error) {
  DeviceHost* const host = host_;
  reset();
  host->fail(error);
}

void VsockDevice::go_on_later() {
  if (later_set_) return;
  later_set_ = true;
  later_ = host_->after(Millis(0), [this] {
    later_set_ = false;
    if (more_tx_)
      process_tx();
    else
      process_rx();
  });
}

// ---- from the guest

void VsockDevice::process_tx() {
  if (host_ == nullptr) return;
  Queue& queue = host_->queue(kTx);
  queue.disarm();
  more_tx_ = false;
  std::size_t count = 0;
  while (true) {
    if (count == kMostTxChains) {
      more_tx_ = true;
      go_on_later();
      break;
    }
    const Result<bool> popped = queue.pop(*chain_);
    if (!popped) {
      ++metrics_.tx_queue_event_fails;
      return fail(popped.error());
    }
    if (!*popped) {
      if (!queue.arm()) break;
      queue.disarm();
      ++count;  // so that a guest that is always one ahead ends here, too
      continue;
    }
    on_chain(*chain_);
    queue.push(*chain_, 0);
    ++count;
    // Credit at once: a guest that has it fills the next packets while we pass these on.
    if (muxer_.has_rx() && count % kCreditTurns == 0) process_rx();
    if (host_ == nullptr) return;
  }
  host_->signal_used(kTx);
  process_rx();
}

void VsockDevice::on_chain(const Chain& chain) {
  const CheckedPacket packet = read_packet(chain, guest_cid_);
  std::array<iovec, Chain::kMaxSegments> parts;
  std::size_t count = 0;
  if (packet.fault == PacketFault::kNone && packet.header.length > 0)
    count = chain.readable_slice(PacketHeader::kSize, packet.header.length, parts);
  muxer_.on_packet(packet, std::span(parts).first(count));
}

// ---- to the guest

void VsockDevice::process_rx() {
  if (host_ == nullptr || reset_event_owed_ || events_expected_ > 0) return;
  Queue& queue = host_->queue(kRx);
  queue.disarm();
  std::size_t turns = 0;
  std::size_t unsignalled = 0;
  while (muxer_.has_rx()) {
    if (turns++ == kMostRxTurns) {
      go_on_later();
      break;
    }
    const Result<Muxer::Delivery> delivery = muxer_.deliver(ring_);
    if (!delivery) {
      ++metrics_.rx_queue_event_fails;
      return fail(delivery.error());
    }
    if (*delivery == Muxer::Delivery::kStarved) {
      if (!queue.arm()) break;
      queue.disarm();
    }
    if (*delivery == Muxer::Delivery::kData && ++unsignalled == kSignalTurns) {
      host_->signal_used(kRx);
      unsignalled = 0;
    }
  }
  host_->signal_used(kRx);
}

// ---- the event queue

// By taking all buffers and giving them back: the queue does not tell otherwise.
Result<std::size_t> VsockDevice::count_event_buffers() {
  Queue& queue = host_->queue(kEvent);
  std::size_t count = 0;
  while (count < queue.max_size() && MVM_TRY(queue.pop(*chain_))) ++count;
  // Armed while all are taken, so that the very next one is told.
  (void)queue.arm();
  for (std::size_t i = 0; i < count; ++i) queue.undo_pop();
  return count;
}

Result<> VsockDevice::send_reset_event() {
  Queue& queue = host_->queue(kEvent);
  const std::size_t available = MVM_TRY(count_event_buffers());
  // Without a buffer the driver either has not begun, or has this very event before it already.
  if (available > 0 && MVM_TRY(queue.pop(*chain_))) {
    const std::array<std::byte, 4> event{std::byte{kTransportReset}};
    queue.push(*chain_, static_cast<std::uint32_t>(chain_->write(0, event)));
  }
  reset_event_owed_ = false;
  events_expected_ = available + events_unhandled_;
  host_->signal_used(kEvent);
  return {};
}

void VsockDevice::process_events() {
  if (!reset_event_owed_ && events_expected_ == 0) return;
  if (reset_event_owed_) {
    if (auto sent = send_reset_event(); !sent) {
      ++metrics_.ev_queue_event_fails;
      return fail(sent.error());
    }
  }
  if (events_expected_ > 0) {
    const Result<std::size_t> available = count_event_buffers();
    if (!available) {
      ++metrics_.ev_queue_event_fails;
      return fail(available.error());
    }
    events_unhandled_ = events_expected_ - std::min(*available, events_expected_);
    if (events_unhandled_ > 0) return;
    events_expected_ = 0;
    log::debug("vsock: the guest has reset its connections");
  }
  process_rx();
}

// ---- snapshots

void VsockDevice::save(ByteWriter& out) const {
  out.number(guest_cid_).text(uds_path()).number(muxer_.last_port());
  out.number(static_cast<std::uint32_t>(events_unhandled_));
  out.boolean(host_ != nullptr);
}

Result<> VsockDevice::restore(ByteReader& in) {
  const SavedState state = MVM_TRY(read_state(in));
  if (state.guest_cid != guest_cid_)
    return Error(Errc::kCorrupt, "saved vsock device has cid " + std::to_string(state.guest_cid) +
                                     ", not " + std::to_string(guest_cid_));
  muxer_.set_last_port(state.last_port);
  events_unhandled_ = state.events_unhandled;
  reset_event_owed_ = state.was_active;
  return {};
}

}  // namespace mvm::vmm
