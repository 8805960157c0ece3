// SPDX-License-Identifier: Apache-2.0
// The keyboard controller of a PC, as much of it as resets a guest and presses Ctrl-Alt-Del.
//
// A keyboard that speaks scan code set 2 is at its first port; nothing is at its second, and the
// answers say so at once, because a kernel that waits for a mouse waits for seconds. Codes are not
// translated to set 1: the translation bit of the configuration byte reads as zero.
//
// Source: Intel 8042 as in the IBM PC AT technical reference; PS/2 keyboard command set.
// Threads: any; one lock. Callbacks run on the calling thread, without the lock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>

#include "core/codec.h"
#include "core/result.h"
#include "vmm/legacy/port_bus.h"

namespace mvm::vmm {

// 0x60 is the data port, 0x64 status and command; what lies between reads as ones.
constexpr PortRange kI8042Ports{0x60, 5};
constexpr std::uint32_t kI8042Irq = 1;

class I8042 : public PortDevice {
 public:
  struct Wires {
    std::function<void()> interrupt;  // an edge on the keyboard's interrupt line
    std::function<void()> reset;      // the guest pulses the reset line
  };
  explicit I8042(Wires wires) : wires_(std::move(wires)) {}

  std::uint8_t read_port(std::uint16_t offset) override;
  void write_port(std::uint16_t offset, std::uint8_t value) override;

  // Presses and releases Ctrl, Alt and Delete. Errors: kUnavailable when the guest has not enabled
  // its keyboard, kBusy when it has not yet read what was typed before.
  Result<> press_ctrl_alt_del();

  void save(ByteWriter& out) const;
  // On a fresh controller. Errors: kCorrupt.
  Result<> restore(ByteReader& in);

 private:
  static constexpr std::size_t kQueueSize = 16;
  struct Effects {
    bool interrupt = false;
    bool reset = false;
  };
  void tell(const Effects& effects) const;
  void command(std::uint8_t value, Effects& effects);
  void data(std::uint8_t value, Effects& effects);
  void controller_data(std::uint8_t command, std::uint8_t value, Effects& effects);
  void keyboard_data(std::uint8_t value, Effects& effects);
  std::uint8_t keyboard_parameter(std::uint8_t command, std::uint8_t value);
  std::uint8_t take(Effects& effects);
  void set_config(std::uint8_t value, Effects& effects);
  void type(std::span<const std::uint8_t> codes, Effects& effects);
  bool keyboard_speaks() const;

  const Wires wires_;
  mutable std::mutex mutex_;
  // As firmware leaves it: the keyboard works, the second port is off, the self test has passed.
  std::uint8_t config_ = 0x25;
  bool last_was_command_ = false;
  std::uint8_t controller_command_ = 0;  // waits for its data byte, or 0
  std::uint8_t keyboard_command_ = 0;    // the same, of the keyboard
  bool scanning_ = true;
  std::optional<std::uint8_t> reply_;  // of the controller itself; goes before the keyboard's codes
  std::array<std::uint8_t, kQueueSize> queue_{};
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

}  // namespace mvm::vmm
