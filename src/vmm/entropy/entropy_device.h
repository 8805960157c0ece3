// SPDX-License-Identifier: Apache-2.0
// The guest's source of entropy: its buffers are filled from the host kernel's generator.
//
// Source: VIRTIO 1.2, section 5.4; Firecracker API 1.x, EntropyDevice.
// Threads: as VirtioDevice says; update_limits under the device's lock on the I/O thread.
#pragma once

#include <functional>

#include "vmm/virtio/device.h"
#include "vmm/virtio/rate_limiter.h"

namespace mvm::vmm {

class EntropyDevice final : public VirtioDevice {
 public:
  // What one request gets at most; a driver that wants more asks again.
  static constexpr std::uint64_t kMaxBytes = 64 << 10;

  explicit EntropyDevice(const RateLimits& limits,
                         std::function<Clock::time_point()> now = Clock::now)
      : limiter_(limits), now_(std::move(now)) {}

  struct Counters {
    std::uint64_t requests = 0, bytes = 0, throttled = 0, failures = 0;
  };
  const Counters& counters() const { return counters_; }
  RateLimits limits() const { return limiter_.limits(); }
  void update_limits(const RateLimits& limits);

  DeviceType type() const override { return DeviceType::kEntropy; }
  std::uint64_t features() const override { return 0; }
  std::span<const std::uint16_t> queue_sizes() const override;
  void read_config(std::uint32_t offset, std::span<std::byte> out) const override;
  Result<> activate(DeviceHost& host) override;
  void notify(std::size_t queue) override;
  void reset() override;
  void save(ByteWriter& out) const override;
  Result<> restore(ByteReader& in) override;

 private:
  void process();
  bool take_requests();
  void resume_after(Millis delay);
  std::uint32_t fill(const Chain& chain, std::uint64_t length);

  RateLimiter limiter_;
  std::function<Clock::time_point()> now_;
  Counters counters_;
  DeviceHost* host_ = nullptr;
  DeviceHost::TimerId timer_ = 0;
  bool waiting_ = false;  // for timer_
  Chain chain_;
};

}  // namespace mvm::vmm
