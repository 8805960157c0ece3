// SPDX-License-Identifier: Apache-2.0
// The real-time clock of a PC and its battery-backed bytes: the time of the host, in UTC.
//
// It cannot be set and has no interrupt: alarm registers hold what is written and nothing comes of
// it. Time is binary-coded decimal in 24-hour form, whatever the guest asks for.
//
// Source: Motorola MC146818A data sheet; register 0x32 (century) as PCs have it.
// Threads: any; one lock.
#pragma once

#include <array>
#include <cstdint>
#include <ctime>
#include <functional>
#include <mutex>

#include "core/codec.h"
#include "core/result.h"
#include "vmm/legacy/port_bus.h"

namespace mvm::vmm {

constexpr PortRange kCmosPorts{0x70, 2};

class Cmos : public PortDevice {
 public:
  // `now` tells the seconds since 1970; it is called under the lock.
  explicit Cmos(std::function<std::time_t()> now);

  std::uint8_t read_port(std::uint16_t offset) override;
  void write_port(std::uint16_t offset, std::uint8_t value) override;

  void save(ByteWriter& out) const;
  // Errors: kCorrupt.
  Result<> restore(ByteReader& in);

 private:
  std::uint8_t read_register(std::uint8_t index) const;

  const std::function<std::time_t()> now_;
  mutable std::mutex mutex_;
  std::uint8_t index_ = 0;
  std::array<std::uint8_t, 128> bytes_{};
};

}  // namespace mvm::vmm
