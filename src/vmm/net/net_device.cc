// SPDX-License-Identifier: Apache-2.0
#include "vmm/net/net_device.h"

#include <sys/epoll.h>

#include <algorithm>

#include "core/log.h"

namespace mvm::vmm {
namespace {

constexpr std::array<std::uint16_t, 2> kQueueSizes = {256, 256};
constexpr std::uint16_t kLinkUp = 1;

}  // namespace

NetDevice::NetDevice(std::unique_ptr<NetBackend> backend, const NetSettings& settings,
                     std::unique_ptr<MmdsStack> mmds)
    : backend_(std::move(backend)),
      mmds_(std::move(mmds)),
      mac_(settings.mac),
      mtu_(settings.mtu),
      rx_limiter_(settings.rx),
      tx_limiter_(settings.tx) {
  if (mmds_) detour_.resize(kMaxFrame);
}

NetDevice::~NetDevice() = default;

std::uint64_t NetDevice::features() const {
  return backend_->offloads() | net_feature::kStatus | (mac_ ? net_feature::kMac : 0) |
         (mtu_ ? net_feature::kMtu : 0) | net_feature::kMergeBuffers;
}

std::span<const std::uint16_t> NetDevice::queue_sizes() const { return kQueueSizes; }

// Shape: mac[6], le16 status, le16 queue pairs, le16 mtu. Source: VIRTIO 1.2, section 5.1.4.
void NetDevice::read_config(std::uint32_t offset, std::span<std::byte> out) const {
  std::array<std::uint8_t, 12> config{};
  if (mac_) std::copy(mac_->begin(), mac_->end(), config.begin());
  config[6] = link_up_ ? kLinkUp : 0;
  config[8] = 1;
  const std::uint16_t mtu = mtu_.value_or(0);
  config[10] = static_cast<std::uint8_t>(mtu & 0xff);
  config[11] = static_cast<std::uint8_t>(mtu >> 8);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint64_t at = std::uint64_t{offset} + i;
    out[i] = at < config.size() ? std::byte{config[at]} : std::byte{0};
  }
}

Result<> NetDevice::activate(DeviceHost& host) {
  for (const std::size_t index : {kReceive, kTransmit}) {
    if (!host.queue(index).enabled())
      return Error(Errc::kGuestFault, "network device: a queue is not set up");
  }
  const std::uint64_t accepted = host.accepted_features();
  MVM_TRY(backend_->set_offloads(accepted & net_feature::kOffloads));
  host_ = &host;
  accepted_ = accepted;
  rx_state_ = tx_state_ = Step::kIdle;
  // A restored guest may have requests in both queues that it will not tell again.
  transmit();
  receive();
  return {};
}

void NetDevice::notify(std::size_t queue) {
  if (host_ == nullptr) return;
  if (queue == kTransmit) transmit();
  if (queue == kReceive && rx_state_ != Step::kLimited) receive();
}

void NetDevice::reset() {
  if (host_ == nullptr) return;
  if (watched_) host_->unwatch(backend_->fd());
  for (auto* timer : {&rx_timer_, &tx_timer_, &mmds_timer_}) cancel(*timer);
  host_ = nullptr;
  watched_.reset();
  // What the driver before had not fully got goes to the next one whole.
  frame_delivered_ = frame_buffers_ = 0;
  if (mmds_) {
    if (frame_from_mmds_) {
      frame_.reset();
      frame_paid_ = false;
    }
    mmds_->reset();
  }
  head_paid_ = false;
}

void NetDevice::save(ByteWriter& out) const {
  const auto now = Clock::now();
  rx_limiter_.save(out, now);
  tx_limiter_.save(out, now);
}

Result<> NetDevice::restore(ByteReader& in) {
  const auto now = Clock::now();
  MVM_TRY(rx_limiter_.restore(in, now));
  return tx_limiter_.restore(in, now);
}

void NetDevice::update_limits(const RateLimits& rx, const RateLimits& tx) {
  rx_limiter_.update(rx);
  tx_limiter_.update(tx);
  if (host_ == nullptr) return;
  cancel(rx_timer_);
  cancel(tx_timer_);
  resume_transmit();
  receive();
}

void NetDevice::on_backend(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) {
    flush();
    if (host_ != nullptr && tx_state_ == Step::kBlocked) resume_transmit();
  }
  if (host_ == nullptr || !link_up_) return;
  if ((events & EPOLLIN) != 0 && rx_state_ == Step::kIdle) receive();
  update_watch();
  // Told again and again until it is not watched any more. What can be read was read, unless the
  // guest has no room for it.
  const bool hung_up = (events & (EPOLLHUP | EPOLLERR)) != 0;
  if (hung_up && host_ != nullptr && rx_state_ != Step::kDone)
    take_link_down(Error(Errc::kUnavailable, "the host's side has gone"));
}

void NetDevice::update_watch() {
  if (host_ == nullptr) return;
  std::optional<std::uint32_t> wanted;
  if (link_up_) {
    const bool blocked = tx_state_ == Step::kBlocked || backend_->unsent() > 0;
    wanted = (rx_state_ == Step::kIdle ? EPOLLIN : 0U) | (blocked ? EPOLLOUT : 0U);
  }
  if (wanted == watched_) return;
  watched_ = wanted;
  if (!wanted) return host_->unwatch(backend_->fd());
  const auto done =
      host_->watch(backend_->fd(), *wanted, [this](std::uint32_t events) { on_backend(events); });
  if (!done) give_up(done.error());
}

// The guest, or the host, has broken what cannot be mended but by a reset.
void NetDevice::give_up(const Error& why) {
  DeviceHost* host = host_;
  if (host == nullptr) return;
  reset();
  host->fail(why);
}

void NetDevice::take_link_down(const Error& why) {
  if (!link_up_) return;
  log::warn("network device: link down: " + why.text());
  link_up_ = false;
  if (!frame_from_mmds_) {
    if (frame_buffers_ > 0) host_->queue(kReceive).unstage();
    frame_.reset();
    frame_delivered_ = frame_buffers_ = 0;
  }
  update_watch();
  if ((accepted_ & net_feature::kStatus) != 0) host_->signal_config();
  if (tx_state_ == Step::kBlocked) resume_transmit();
}

void NetDevice::schedule(std::optional<DeviceHost::TimerId>& timer, Millis delay,
                         void (NetDevice::*call)()) {
  if (timer) return;
  timer = host_->after(delay, [this, &timer, call] {
    timer.reset();
    (this->*call)();
  });
}

void NetDevice::cancel(std::optional<DeviceHost::TimerId>& timer) {
  if (timer) host_->cancel(*timer);
  timer.reset();
}

void NetDevice::schedule_mmds() {
  const auto at = mmds_->next_timeout();
  cancel(mmds_timer_);
  if (!at) return;
  const auto delay = std::chrono::ceil<Millis>(*at - Clock::now());
  schedule(mmds_timer_, std::max(delay, Millis(0)), &NetDevice::on_mmds_timer);
}

void NetDevice::on_mmds_timer() {
  mmds_->on_timeout(Clock::now());
  schedule_mmds();
  receive();
}

}  // namespace mvm::vmm
