// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/legacy_devices.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>

#include "sys/io.h"
#include "vmm/arch/layout.h"

namespace mvm::vmm {

Result<std::unique_ptr<LegacyDevices>> LegacyDevices::create(
    const KvmVm& vm, GuestBus& bus, sys::EventLoop& loop, const std::optional<SerialConfig>& serial,
    const Wires& wires) {
  std::unique_ptr<LegacyDevices> out(new LegacyDevices(loop));
  LegacyDevices* self = out.get();
  MVM_TRY(out->open_console(serial));
  out->serial_line_ = MVM_TRY(InterruptLine::create(vm, kSerialGsi));
  out->keyboard_line_ = MVM_TRY(InterruptLine::create(vm, kKeyboardGsi));
  out->generation_ = MVM_TRY(InterruptLine::create(vm, kGedGsi));
  Serial::Wires port;
  port.interrupt = [self] { self->serial_line_->raise(); };
  port.output = [self](std::span<const std::byte> bytes) { self->send(bytes); };
  out->serial_ = std::make_unique<Serial>(std::move(port));
  out->keyboard_ =
      std::make_unique<I8042>(I8042::Wires{[self] { self->keyboard_line_->raise(); }, wires.reset});
  out->sleep_ = std::make_unique<SleepControl>(wires.power_off);
  out->reset_ = std::make_unique<ResetControl>(wires.reset);
  MVM_TRY(bus.ports().add(kSerialPorts, *out->serial_));
  MVM_TRY(bus.ports().add(kI8042Ports, *out->keyboard_));
  MVM_TRY(bus.ports().add(kSleepPorts, *out->sleep_));
  MVM_TRY(bus.ports().add(kResetPorts, *out->reset_));
  out->watch_input();
  return out;
}

LegacyDevices::~LegacyDevices() {
  if (has_input_) loop_.remove(STDIN_FILENO);
}

Result<> LegacyDevices::open_console(const std::optional<SerialConfig>& serial) {
  if (!serial || !serial->serial_out_path) return {};
  output_file_ = MVM_TRY(
      sys::open_file(*serial->serial_out_path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK, 0600));
  output_ = output_file_.get();
  return {};
}

// A console that nobody reads must not stop the guest: what does not fit is lost.
void LegacyDevices::send(std::span<const std::byte> bytes) {
  pollfd ready{output_, POLLOUT, 0};
  if (::poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0)
    (void)sys::write_some(output_, bytes);
}

// A file or /dev/null cannot be waited for and has no input.
void LegacyDevices::watch_input() {
  has_input_ =
      loop_.add(STDIN_FILENO, EPOLLIN, [this](std::uint32_t) { read_input(); }).has_value();
}

void LegacyDevices::read_input() {
  std::array<std::byte, Serial::kFifoSize> bytes;
  const auto n = sys::read_some(STDIN_FILENO, bytes);
  if (!n && n.error().errnum() == EAGAIN) return;
  if (!n || *n == 0) {
    loop_.remove(STDIN_FILENO);
    has_input_ = false;
    return;
  }
  // A person types; what overruns the FIFO is lost, as on a real line.
  (void)serial_->input(std::span(bytes).first(*n));
}

void LegacyDevices::save(ByteWriter& out) const {
  serial_->save(out);
  keyboard_->save(out);
}

Result<> LegacyDevices::restore(ByteReader& in) {
  MVM_TRY_CTX(serial_->restore(in), "saved serial port");
  return keyboard_->restore(in);
}

}  // namespace mvm::vmm
