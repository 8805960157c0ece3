// SPDX-License-Identifier: Apache-2.0
#include "vmm/balloon/balloon_device.h"

#include <linux/virtio_balloon.h>

#include <algorithm>
#include <limits>

#include "core/log.h"

namespace mvm::vmm {
namespace {

constexpr std::size_t kInflate = 0;
constexpr std::size_t kDeflate = 1;
constexpr std::array<std::uint16_t, 4> kQueueSizes = {256, 256, 256, 256};

constexpr std::uint32_t kPagesPerMib = 256;
constexpr std::uint32_t kMaxMib = std::numeric_limits<std::uint32_t>::max() / kPagesPerMib;
// Of one request; Linux sends 256.
constexpr std::uint64_t kMaxFrames = 16384;
constexpr std::size_t kFramesAtOnce = 1024;
constexpr std::size_t kMaxStatBytes = 64 * sizeof(virtio_balloon_stat);
// After so many requests, the I/O thread looks after its other devices.
constexpr std::size_t kRequestsPerTurn = 64;

constexpr std::uint64_t bit(unsigned feature) { return 1ULL << feature; }

struct Config {
  std::uint32_t num_pages;
  std::uint32_t actual;
};

Result<> check_target(std::uint32_t mib) {
  if (mib <= kMaxMib) return {};
  return Error(Errc::kInvalidArgument, "balloon: a target of " + std::to_string(mib) +
                                           " MiB, at most " + std::to_string(kMaxMib) +
                                           " are possible");
}

}  // namespace

Result<std::unique_ptr<BalloonDevice>> BalloonDevice::create(const BalloonOptions& options) {
  MVM_TRY(check_target(options.target_mib));
  return std::unique_ptr<BalloonDevice>(new BalloonDevice(options));
}

Result<> BalloonDevice::set_target(std::uint32_t mib) {
  MVM_TRY(check_target(mib));
  options_.target_mib = mib;
  if (host_ != nullptr) host_->signal_config();
  return {};
}

Result<> BalloonDevice::set_stats_interval(std::uint32_t seconds) {
  if (seconds == options_.stats_interval_s) return {};
  if (seconds == 0 || options_.stats_interval_s == 0)
    return Error(Errc::kInvalidArgument,
                 "balloon: statistics cannot be turned on or off once the device exists");
  options_.stats_interval_s = seconds;
  if (stats_queue_) ask_for_stats();
  return {};
}

Result<BalloonReport> BalloonDevice::stats() const {
  if (options_.stats_interval_s == 0)
    return Error(Errc::kInvalidArgument, "balloon: statistics are not enabled");
  BalloonReport out;
  out.target_pages = options_.target_mib * kPagesPerMib;
  out.actual_pages = actual_pages_;
  out.target_mib = options_.target_mib;
  out.actual_mib = actual_pages_ / kPagesPerMib;
  out.values = values_;
  return out;
}

std::uint64_t BalloonDevice::features() const {
  std::uint64_t out = 0;
  if (options_.stats_interval_s > 0) out |= bit(VIRTIO_BALLOON_F_STATS_VQ);
  if (options_.deflate_on_oom) out |= bit(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
  if (options_.free_page_reporting) out |= bit(VIRTIO_BALLOON_F_REPORTING);
  return out;
}

std::span<const std::uint16_t> BalloonDevice::queue_sizes() const {
  const std::size_t optional =
      (options_.stats_interval_s > 0 ? 1U : 0U) + (options_.free_page_reporting ? 1U : 0U);
  return std::span(kQueueSizes).first(2 + optional);
}

void BalloonDevice::read_config(std::uint32_t offset, std::span<std::byte> out) const {
  const Config config{options_.target_mib * kPagesPerMib, actual_pages_};
  const auto bytes = std::as_bytes(std::span(&config, 1));
  std::fill(out.begin(), out.end(), std::byte{0});
  if (offset >= bytes.size()) return;
  const auto part = bytes.subspan(offset, std::min(out.size(), bytes.size() - offset));
  std::copy(part.begin(), part.end(), out.begin());
}

// The driver writes how many pages the balloon has; nothing else can be written.
void BalloonDevice::write_config(std::uint32_t offset, std::span<const std::byte> in) {
  if (offset != offsetof(Config, actual) || in.size() != sizeof actual_pages_) return;
  std::copy(in.begin(), in.end(), std::as_writable_bytes(std::span(&actual_pages_, 1)).begin());
}

Result<> BalloonDevice::activate(DeviceHost& host) {
  host_ = &host;
  // Queues of features that were not accepted have no number. Source: VIRTIO 1.2, 5.5.2.
  std::size_t next = kDeflate + 1;
  if ((host.accepted_features() & features() & bit(VIRTIO_BALLOON_F_STATS_VQ)) != 0)
    stats_queue_ = next++;
  if ((host.accepted_features() & features() & bit(VIRTIO_BALLOON_F_REPORTING)) != 0)
    reporting_queue_ = next++;
  if (stats_queue_ && host.queue(*stats_queue_).enabled()) {
    // The buffer that we held when we were saved is taken anew.
    if (std::exchange(holds_stats_, false)) host.queue(*stats_queue_).undo_pop();
    schedule_stats();
  }
  return {};
}

void BalloonDevice::reset() {
  if (host_ == nullptr) return;
  if (stats_timer_) host_->cancel(*stats_timer_);
  stats_timer_.reset();
  for (auto& timer : resume_timers_) {
    if (timer) host_->cancel(*timer);
    timer.reset();
  }
  holds_stats_ = false;
  actual_pages_ = 0;
  stats_queue_.reset();
  reporting_queue_.reset();
  host_ = nullptr;
}

void BalloonDevice::notify(std::size_t queue) {
  if (host_ == nullptr || queue >= queue_sizes().size() || !host_->queue(queue).enabled()) return;
  if (queue == kInflate) return drain(queue, &BalloonDevice::inflate);
  if (queue == kDeflate) return drain(queue, &BalloonDevice::deflate);
  if (queue == stats_queue_) return take_stats();
  if (queue == reporting_queue_) return drain(queue, &BalloonDevice::report);
}

// Handles what is in a queue and gives it back at once.
void BalloonDevice::drain(std::size_t index, Handler handler) {
  if (resume_timers_[index]) return;
  Queue& queue = host_->queue(index);
  queue.disarm();
  for (std::size_t count = 0;; ++count) {
    if (count == kRequestsPerTurn) {
      resume_later(index);
      break;
    }
    const auto popped = queue.pop(chain_);
    if (!popped) return host_->fail(popped.error());
    if (*popped) {
      if (auto done = (this->*handler)(chain_); !done) return host_->fail(done.error());
      queue.push(chain_, 0);
    } else if (!queue.arm()) {
      break;
    }
  }
  host_->signal_used(index);
}

void BalloonDevice::resume_later(std::size_t index) {
  resume_timers_[index] = host_->after(Millis(0), [this, index] {
    resume_timers_[index].reset();
    notify(index);
  });
}

Result<> BalloonDevice::inflate(const Chain& chain) {
  const std::uint64_t count = chain.readable_bytes() / sizeof(std::uint32_t);
  if (count > kMaxFrames)
    return Error(Errc::kGuestFault,
                 "balloon: a request of " + std::to_string(count) + " page frames");
  std::array<std::uint32_t, kFramesAtOnce> frames;
  for (std::uint64_t done = 0; done < count;) {
    const auto part = std::span(frames).first(std::min<std::uint64_t>(count - done, frames.size()));
    chain.read(done * sizeof(std::uint32_t), std::as_writable_bytes(part));
    note(MVM_TRY(release_frames(host_->memory(), part)));
    counters_.inflated_pages += part.size();
    done += part.size();
  }
  return {};
}

// The pages are there again when the guest touches them.
Result<> BalloonDevice::deflate(const Chain& chain) {
  counters_.deflated_pages += chain.readable_bytes() / sizeof(std::uint32_t);
  return {};
}

Result<> BalloonDevice::report(const Chain& chain) {
  const Released released = release_ranges(chain.writable());
  counters_.reported_bytes += released.bytes;
  note(released);
  return {};
}

void BalloonDevice::note(const Released& released) {
  if (released.failures > 0 && counters_.release_failures == 0)
    log::warn(Error::from_errno("balloon: giving pages back", released.errnum).text());
  counters_.release_failures += released.failures;
}

// Takes the driver's buffer and keeps it: giving it back is asking for new numbers.
void BalloonDevice::take_stats() {
  Queue& queue = host_->queue(*stats_queue_);
  do {
    const auto popped = queue.pop(stats_chain_);
    if (!popped) return host_->fail(popped.error());
    if (!*popped) continue;
    if (holds_stats_)
      return host_->fail(Error(Errc::kGuestFault, "balloon: a second buffer of statistics"));
    parse_stats(stats_chain_);
    holds_stats_ = true;
  } while (queue.arm());
}

void BalloonDevice::parse_stats(const Chain& chain) {
  std::array<std::byte, kMaxStatBytes> buffer;
  const std::size_t size = chain.read(0, buffer);
  for (std::size_t at = 0; at + sizeof(virtio_balloon_stat) <= size;
       at += sizeof(virtio_balloon_stat)) {
    virtio_balloon_stat stat;
    std::memcpy(&stat, buffer.data() + at, sizeof stat);
    // Later kernels have more of them.
    if (stat.tag < values_.size()) values_[stat.tag] = std::uint64_t{stat.val};
  }
  ++counters_.stats_updates;
}

void BalloonDevice::ask_for_stats() {
  if (std::exchange(holds_stats_, false)) {
    host_->queue(*stats_queue_).push(stats_chain_, 0);
    host_->signal_used(*stats_queue_);
  }
  schedule_stats();
}

void BalloonDevice::schedule_stats() {
  if (stats_timer_) host_->cancel(*stats_timer_);
  stats_timer_ = host_->after(std::chrono::seconds(options_.stats_interval_s), [this] {
    stats_timer_.reset();
    ask_for_stats();
  });
}

void BalloonDevice::save(ByteWriter& out) const {
  out.number(options_.target_mib).boolean(options_.deflate_on_oom);
  out.number(options_.stats_interval_s).boolean(options_.free_page_reporting);
  out.number(actual_pages_).boolean(holds_stats_);
  for (const auto& value : values_) out.boolean(value.has_value()).number(value.value_or(0));
}

Result<> BalloonDevice::restore(ByteReader& in) {
  BalloonOptions options;
  options.target_mib = in.number<std::uint32_t>();
  options.deflate_on_oom = in.boolean();
  options.stats_interval_s = in.number<std::uint32_t>();
  options.free_page_reporting = in.boolean();
  const auto actual = in.number<std::uint32_t>();
  const bool holds = in.boolean();
  decltype(values_) values;
  for (auto& value : values) {
    const bool known = in.boolean();
    const auto stored = in.number<std::uint64_t>();
    if (known) value = stored;
  }
  if (!in.ok() || !check_target(options.target_mib))
    return Error(Errc::kCorrupt, "saved balloon: it is cut off or not one");
  // The transport has made the queues already.
  if ((options.stats_interval_s > 0) != (options_.stats_interval_s > 0) ||
      options.free_page_reporting != options_.free_page_reporting)
    return Error(Errc::kCorrupt, "saved balloon: it has other queues than this one");
  options_ = options;
  actual_pages_ = actual;
  holds_stats_ = holds;
  values_ = values;
  return {};
}

}  // namespace mvm::vmm
