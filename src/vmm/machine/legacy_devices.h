// SPDX-License-Identifier: Apache-2.0
// The devices of a PC that every machine has: serial console, keyboard controller, power and reset
// registers, and the interrupt that announces a new VM generation.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "core/codec.h"
#include "core/result.h"
#include "sys/event_loop.h"
#include "vmm/config/device_config.h"
#include "vmm/legacy/i8042.h"
#include "vmm/legacy/pm.h"
#include "vmm/legacy/serial.h"
#include "vmm/machine/guest_bus.h"
#include "vmm/machine/interrupt_line.h"

namespace mvm::vmm {

class LegacyDevices {
 public:
  struct Wires {
    std::function<void()> power_off;  // on a vcpu's thread
    std::function<void()> reset;      // on a vcpu's thread
  };
  // The console goes to the file of the configuration, or to stdout; its input comes from stdin
  // where that is something to wait for.
  static Result<std::unique_ptr<LegacyDevices>> create(const KvmVm& vm, GuestBus& bus,
                                                       sys::EventLoop& loop,
                                                       const std::optional<SerialConfig>& serial,
                                                       const Wires& wires);
  ~LegacyDevices();
  LegacyDevices(const LegacyDevices&) = delete;
  LegacyDevices& operator=(const LegacyDevices&) = delete;

  Result<> press_ctrl_alt_del() { return keyboard_->press_ctrl_alt_del(); }
  void announce_generation() const { generation_->raise(); }

  void save(ByteWriter& out) const;
  // Errors: kCorrupt.
  Result<> restore(ByteReader& in);

 private:
  explicit LegacyDevices(sys::EventLoop& loop) : loop_(loop) {}
  Result<> open_console(const std::optional<SerialConfig>& serial);
  void send(std::span<const std::byte> bytes);
  void watch_input();
  void read_input();

  sys::EventLoop& loop_;
  sys::UniqueFd output_file_;
  int output_ = 1;
  bool has_input_ = false;
  std::optional<InterruptLine> serial_line_;
  std::optional<InterruptLine> keyboard_line_;
  std::optional<InterruptLine> generation_;
  std::unique_ptr<Serial> serial_;
  std::unique_ptr<I8042> keyboard_;
  std::unique_ptr<SleepControl> sleep_;
  std::unique_ptr<ResetControl> reset_;
};

}  // namespace mvm::vmm
