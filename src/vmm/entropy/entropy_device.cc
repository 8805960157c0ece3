// SPDX-License-Identifier: Apache-2.0
#include "vmm/entropy/entropy_device.h"

#include <sys/random.h>

#include <algorithm>
#include <array>

#include "core/log.h"

namespace mvm::vmm {
namespace {

constexpr std::array<std::uint16_t, 1> kQueueSizes = {64};
// After so many requests, the I/O thread looks after its other devices.
constexpr std::size_t kRequestsPerTurn = 64;

}  // namespace

std::span<const std::uint16_t> EntropyDevice::queue_sizes() const { return kQueueSizes; }

void EntropyDevice::read_config(std::uint32_t /*offset*/, std::span<std::byte> out) const {
  std::fill(out.begin(), out.end(), std::byte{0});
}

void EntropyDevice::update_limits(const RateLimits& limits) {
  limiter_.update(limits);
  if (!waiting_) return;
  host_->cancel(timer_);
  waiting_ = false;
  process();
}

Result<> EntropyDevice::activate(DeviceHost& host) {
  host_ = &host;
  return {};
}

void EntropyDevice::notify(std::size_t /*queue*/) { process(); }

void EntropyDevice::reset() {
  if (host_ != nullptr && waiting_) host_->cancel(timer_);
  waiting_ = false;
  host_ = nullptr;
}

void EntropyDevice::process() {
  if (host_ == nullptr || waiting_ || !host_->queue(0).enabled()) return;
  do {
    host_->queue(0).disarm();
    if (!take_requests()) break;
  } while (host_->queue(0).arm());
  if (host_ != nullptr) host_->signal_used(0);
}

// False when the rest must wait, or the device has been stopped.
bool EntropyDevice::take_requests() {
  for (std::size_t count = 0; count < kRequestsPerTurn; ++count) {
    auto popped = host_->queue(0).pop(chain_);
    if (!popped) {
      host_->fail(popped.error());
      host_ = nullptr;
      return false;
    }
    if (!*popped) return true;
    const std::uint64_t length = std::min(chain_.writable_bytes(), kMaxBytes);
    const Millis wait = limiter_.consume(length, 1, now_());
    if (wait > Millis(0)) {
      ++counters_.throttled;
      host_->queue(0).undo_pop();
      resume_after(wait);
      return false;
    }
    host_->queue(0).push(chain_, fill(chain_, length));
    ++counters_.requests;
  }
  resume_after(Millis(0));
  return false;
}

void EntropyDevice::resume_after(Millis delay) {
  waiting_ = true;
  timer_ = host_->after(delay, [this] {
    waiting_ = false;
    process();
  });
}

// Returns how many bytes were written.
std::uint32_t EntropyDevice::fill(const Chain& chain, std::uint64_t length) {
  std::uint64_t done = 0;
  for (const iovec& range : chain.writable()) {
    std::size_t at = 0;
    while (at < range.iov_len && done < length) {
      const std::size_t part = std::min<std::uint64_t>(range.iov_len - at, length - done);
      const ssize_t got = ::getrandom(static_cast<std::byte*>(range.iov_base) + at, part, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        if (counters_.failures++ == 0) log::error(Error::from_errno("entropy: getrandom").text());
        return static_cast<std::uint32_t>(done);
      }
      at += static_cast<std::size_t>(got);
      done += static_cast<std::uint64_t>(got);
    }
  }
  counters_.bytes += done;
  return static_cast<std::uint32_t>(done);
}

void EntropyDevice::save(ByteWriter& out) const { limiter_.save(out, now_()); }

Result<> EntropyDevice::restore(ByteReader& in) {
  MVM_TRY_CTX(limiter_.restore(in, now_()), "saved entropy device");
  return {};
}

}  // namespace mvm::vmm
