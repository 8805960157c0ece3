// SPDX-License-Identifier: Apache-2.0
// A 16550A serial port: the guest's console.
//
// Sending takes no time: the transmitter is always empty, so every byte written asks for the next
// one at once. Received bytes wait in a FIFO of 64; what does not fit stays with the caller until
// `input_space` tells that there is room again, so nothing is ever overrun from outside.
// The interrupt is an edge: it is told once for every new cause.
//
// Source: National Semiconductor PC16550D data sheet, section 8.
// Threads: any; one lock for the registers. Callbacks run on the calling thread, without the lock:
// a vcpu's for output, interrupt and input_space, the caller's of input() for its interrupt.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>

#include "core/codec.h"
#include "core/result.h"
#include "vmm/legacy/port_bus.h"

namespace mvm::vmm {

// The first serial port of a PC (COM1, ttyS0).
constexpr PortRange kSerialPorts{0x3f8, 8};
constexpr std::uint32_t kSerialIrq = 4;

class Serial : public PortDevice {
 public:
  static constexpr std::size_t kFifoSize = 64;

  struct Wires {
    std::function<void()> interrupt;                         // an edge on the interrupt line
    std::function<void(std::span<const std::byte>)> output;  // what the guest sends, as it comes
    std::function<void()> input_space;                       // try input() again; may be empty
  };
  explicit Serial(Wires wires) : wires_(std::move(wires)) {}

  std::uint8_t read_port(std::uint16_t offset) override;
  void write_port(std::uint16_t offset, std::uint8_t value) override;

  // Bytes for the guest. Returns how many were taken; after fewer than all, input_space follows.
  std::size_t input(std::span<const std::byte> bytes);

  void save(ByteWriter& out) const;
  // On a fresh port. Errors: kCorrupt.
  Result<> restore(ByteReader& in);

 private:
  // What is to be told when the lock has been given back.
  struct Effects {
    bool interrupt = false;
    bool space = false;
  };
  void tell(const Effects& effects) const;
  std::uint8_t read_locked(std::uint16_t offset, Effects& effects);
  void write_locked(std::uint16_t offset, std::uint8_t value, Effects& effects);
  std::uint8_t pop_received(Effects& effects);
  bool push_received(std::uint8_t value);
  void clear_received(Effects& effects);
  std::uint8_t take_cause();
  std::uint8_t pending() const;
  void set_modem_lines();
  void loop_back(std::uint8_t value);
  void write_interrupt_enable(std::uint8_t value, Effects& effects);
  void write_modem_control(std::uint8_t value, Effects& effects);
  void note_causes(std::uint8_t before, Effects& effects) const;
  bool divisor_selected() const;
  bool looping() const;

  const Wires wires_;
  mutable std::mutex mutex_;
  std::uint8_t interrupt_enable_ = 0;
  std::uint8_t line_control_ = 0;
  std::uint8_t modem_control_ = 0;
  std::uint8_t modem_status_ = 0xb0;  // carrier, data set ready, clear to send
  std::uint8_t scratch_ = 0;
  std::uint16_t divisor_ = 12;  // 9600 baud
  bool fifo_enabled_ = false;
  bool overrun_ = false;
  bool transmitter_cause_ = false;  // "transmitter empty" has not been seen in IIR
  bool wants_space_ = false;
  std::array<std::uint8_t, kFifoSize> fifo_{};
  std::size_t fifo_first_ = 0;
  std::size_t fifo_count_ = 0;
};

}  // namespace mvm::vmm
