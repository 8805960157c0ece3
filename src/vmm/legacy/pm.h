// SPDX-License-Identifier: Apache-2.0
// How a guest turns itself off or resets itself: ACPI's sleep registers and port 0xcf9.
//
// Neither has a state that a snapshot would have to carry: whoever wrote them is gone.
//
// Source: ACPI 6.5, 4.8.3.7 "Sleep Control and Status Registers"; Intel PCH, "Reset Control".
// Threads: any vcpu's. Callbacks run on the calling vcpu's thread and may be called more than once.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "vmm/legacy/port_bus.h"

namespace mvm::vmm {

// Sleep control and sleep status. The FADT must name the same ports, and _S5 the same sleep type.
constexpr PortRange kSleepPorts{0x600, 2};
constexpr std::uint8_t kSleepTypeOff = 5;
// What the FADT's reset register writes to kResetPort.
constexpr PortRange kResetPorts{0xcf9, 1};
constexpr std::uint8_t kResetControlValue = 0x06;

class SleepControl : public PortDevice {
 public:
  explicit SleepControl(std::function<void()> power_off) : power_off_(std::move(power_off)) {}

  std::uint8_t read_port(std::uint16_t offset) override;
  // SLP_EN with kSleepTypeOff turns the guest off; other sleep types are not there and do nothing.
  void write_port(std::uint16_t offset, std::uint8_t value) override;

 private:
  const std::function<void()> power_off_;
};

class ResetControl : public PortDevice {
 public:
  explicit ResetControl(std::function<void()> reset) : reset_(std::move(reset)) {}

  std::uint8_t read_port(std::uint16_t offset) override;
  // RST_CPU resets the guest; the other bits, which choose the kind of reset, are only kept.
  void write_port(std::uint16_t offset, std::uint8_t value) override;

 private:
  const std::function<void()> reset_;
  std::atomic<std::uint8_t> kind_{0};
};

}  // namespace mvm::vmm
