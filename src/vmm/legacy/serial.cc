// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/serial.h"

#include <utility>

namespace mvm::vmm {
namespace {

// Registers, by offset.
constexpr std::uint16_t kData = 0;             // RBR and THR; divisor, low
constexpr std::uint16_t kInterruptEnable = 1;  // divisor, high
constexpr std::uint16_t kInterruptCause = 2;   // IIR; written: FCR
constexpr std::uint16_t kLineControl = 3;
constexpr std::uint16_t kModemControl = 4;
constexpr std::uint16_t kLineStatus = 5;
constexpr std::uint16_t kModemStatus = 6;
constexpr std::uint16_t kScratch = 7;

// Interrupt causes, as the bits of IER that enable them.
constexpr std::uint8_t kReceived = 0x01;
constexpr std::uint8_t kTransmitterEmpty = 0x02;
constexpr std::uint8_t kLineError = 0x04;
constexpr std::uint8_t kModemChange = 0x08;

constexpr std::uint8_t kDivisorAccess = 0x80;  // LCR
constexpr std::uint8_t kLoop = 0x10;           // MCR
constexpr std::uint8_t kFifoEnable = 0x01;     // FCR
constexpr std::uint8_t kFifoClearReceived = 0x02;
constexpr std::uint8_t kStatusReady = 0x01;  // LSR
constexpr std::uint8_t kStatusOverrun = 0x02;
constexpr std::uint8_t kStatusIdle = 0x60;  // holding and shift register are empty
constexpr std::uint8_t kModemLines = 0xb0;  // MSR without loopback
constexpr std::uint8_t kModemRing = 0x40;   // MSR: its change shows in the other direction
constexpr std::uint8_t kModemRingEdge = 0x04;

}  // namespace

bool Serial::divisor_selected() const { return (line_control_ & kDivisorAccess) != 0; }
bool Serial::looping() const { return (modem_control_ & kLoop) != 0; }

void Serial::tell(const Effects& effects) const {
  if (effects.interrupt && wires_.interrupt) wires_.interrupt();
  if (effects.space && wires_.input_space) wires_.input_space();
}

// The enabled causes that are there now.
std::uint8_t Serial::pending() const {
  std::uint8_t causes = 0;
  if (overrun_) causes |= kLineError;
  if (fifo_count_ > 0) causes |= kReceived;
  if (transmitter_cause_) causes |= kTransmitterEmpty;
  if ((modem_status_ & 0x0f) != 0) causes |= kModemChange;
  return causes & interrupt_enable_;
}

void Serial::note_causes(std::uint8_t before, Effects& effects) const {
  if ((pending() & ~before) != 0) effects.interrupt = true;
}

std::uint8_t Serial::read_port(std::uint16_t offset) {
  Effects effects;
  std::uint8_t value = 0;
  {
    const std::lock_guard lock(mutex_);
    value = read_locked(offset, effects);
  }
  tell(effects);
  return value;
}

void Serial::write_port(std::uint16_t offset, std::uint8_t value) {
  Effects effects;
  bool sends = false;
  {
    const std::lock_guard lock(mutex_);
    sends = offset == kData && !divisor_selected() && !looping();
    write_locked(offset, value, effects);
  }
  if (sends && wires_.output) {
    const auto byte = std::byte{value};
    wires_.output(std::span(&byte, 1));
  }
  tell(effects);
}

std::uint8_t Serial::read_locked(std::uint16_t offset, Effects& effects) {
  switch (offset) {
    case kData:
      return divisor_selected() ? static_cast<std::uint8_t>(divisor_ & 0xff)
                                : pop_received(effects);
    case kInterruptEnable:
      return divisor_selected() ? static_cast<std::uint8_t>(divisor_ >> 8) : interrupt_enable_;
    case kInterruptCause:
      return take_cause();
    case kLineControl:
      return line_control_;
    case kModemControl:
      return modem_control_;
    case kLineStatus: {
      std::uint8_t status = kStatusIdle;
      if (fifo_count_ > 0) status |= kStatusReady;
      if (std::exchange(overrun_, false)) status |= kStatusOverrun;
      return status;
    }
    case kModemStatus: {
      const std::uint8_t status = modem_status_;
      modem_status_ &= 0xf0;  // the changes have been seen
      return status;
    }
    case kScratch:
      return scratch_;
    default:
      return 0xff;
  }
}

void Serial::write_locked(std::uint16_t offset, std::uint8_t value, Effects& effects) {
  const std::uint8_t before = pending();
  switch (offset) {
    case kData:
      if (divisor_selected()) {
        divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff00) | value);
        return;
      }
      if (looping()) loop_back(value);
      transmitter_cause_ = true;
      break;
    case kInterruptEnable:
      if (divisor_selected())
        divisor_ = static_cast<std::uint16_t>((divisor_ & 0x00ff) | value << 8);
      else
        write_interrupt_enable(value, effects);
      return;
    case kInterruptCause: {
      const bool enable = (value & kFifoEnable) != 0;
      if (enable != fifo_enabled_ || (value & kFifoClearReceived) != 0) clear_received(effects);
      fifo_enabled_ = enable;
      return;
    }
    case kLineControl:
      line_control_ = value;
      return;
    case kModemControl:
      write_modem_control(value, effects);
      break;
    case kScratch:
      scratch_ = value;
      return;
    default:  // the status registers cannot be written
      return;
  }
  note_causes(before, effects);
}

void Serial::write_interrupt_enable(std::uint8_t value, Effects& effects) {
  const std::uint8_t before = pending();
  const auto enabled = static_cast<std::uint8_t>(value & 0x0f & ~interrupt_enable_);
  interrupt_enable_ = value & 0x0f;
  // Enabling it while the transmitter is empty is a cause of its own: drivers start sending so.
  if ((enabled & kTransmitterEmpty) != 0) transmitter_cause_ = true;
  note_causes(before, effects);
}

void Serial::write_modem_control(std::uint8_t value, Effects& effects) {
  const bool looped = looping();
  modem_control_ = value & 0x1f;
  set_modem_lines();
  if (looped && !looping() && fifo_count_ < kFifoSize && std::exchange(wants_space_, false))
    effects.space = true;
}

// In loopback the outputs of the modem control register are its inputs.
void Serial::set_modem_lines() {
  std::uint8_t lines = kModemLines;
  if (looping()) {
    lines = static_cast<std::uint8_t>((modem_control_ & 0x02) << 3 |
                                      (modem_control_ & 0x01) << 5 |  // RTS → CTS, DTR → DSR
                                      (modem_control_ & 0x0c) << 4);  // OUT1 → RI, OUT2 → DCD
  }
  const auto changed = static_cast<std::uint8_t>((modem_status_ ^ lines) & 0xf0);
  auto edges = static_cast<std::uint8_t>((changed & ~kModemRing) >> 4);
  if ((changed & kModemRing) != 0 && (lines & kModemRing) == 0) edges |= kModemRingEdge;
  modem_status_ = static_cast<std::uint8_t>(lines | (modem_status_ & 0x0f) | edges);
}

// Reading IIR takes the "transmitter empty" cause away, if that is what it shows.
std::uint8_t Serial::take_cause() {
  const auto fifo = static_cast<std::uint8_t>(fifo_enabled_ ? 0xc0 : 0x00);
  const std::uint8_t causes = pending();
  if ((causes & kLineError) != 0) return fifo | 0x06;
  if ((causes & kReceived) != 0) return fifo | 0x04;
  if ((causes & kTransmitterEmpty) != 0) {
    transmitter_cause_ = false;
    return fifo | 0x02;
  }
  if ((causes & kModemChange) != 0) return fifo | 0x00;
  return fifo | 0x01;
}

bool Serial::push_received(std::uint8_t value) {
  if (fifo_count_ == kFifoSize) return false;
  fifo_[(fifo_first_ + fifo_count_) % kFifoSize] = value;
  ++fifo_count_;
  return true;
}

void Serial::loop_back(std::uint8_t value) {
  if (!push_received(value)) overrun_ = true;
}

std::uint8_t Serial::pop_received(Effects& effects) {
  if (fifo_count_ == 0) return 0;
  const std::uint8_t value = fifo_[fifo_first_];
  fifo_first_ = (fifo_first_ + 1) % kFifoSize;
  --fifo_count_;
  // Without its FIFO the port holds one byte, and the next one is an edge of its own.
  if (!fifo_enabled_ && fifo_count_ > 0 && (interrupt_enable_ & kReceived) != 0)
    effects.interrupt = true;
  // Told when it is empty: a caller that heard of every byte would bring one byte at a time.
  if (fifo_count_ == 0 && !looping() && std::exchange(wants_space_, false)) effects.space = true;
  return value;
}

void Serial::clear_received(Effects& effects) {
  fifo_count_ = 0;
  overrun_ = false;
  if (!looping() && std::exchange(wants_space_, false)) effects.space = true;
}

std::size_t Serial::input(std::span<const std::byte> bytes) {
  Effects effects;
  std::size_t taken = 0;
  {
    const std::lock_guard lock(mutex_);
    while (!looping() && taken < bytes.size() &&
           push_received(std::to_integer<std::uint8_t>(bytes[taken])))
      ++taken;
    if (taken < bytes.size()) wants_space_ = true;
    effects.interrupt = taken > 0 && (interrupt_enable_ & kReceived) != 0;
  }
  tell(effects);
  return taken;
}

void Serial::save(ByteWriter& out) const {
  const std::lock_guard lock(mutex_);
  out.number(interrupt_enable_).number(line_control_).number(modem_control_);
  out.number(modem_status_).number(scratch_).number(divisor_);
  out.boolean(fifo_enabled_).boolean(overrun_).boolean(transmitter_cause_);
  std::array<std::byte, kFifoSize> waiting{};
  for (std::size_t i = 0; i < fifo_count_; ++i)
    waiting[i] = std::byte{fifo_[(fifo_first_ + i) % kFifoSize]};
  out.bytes(std::span(waiting).first(fifo_count_));
}

Result<> Serial::restore(ByteReader& in) {
  const std::lock_guard lock(mutex_);
  interrupt_enable_ = in.number<std::uint8_t>() & 0x0f;
  line_control_ = in.number<std::uint8_t>();
  modem_control_ = in.number<std::uint8_t>() & 0x1f;
  modem_status_ = in.number<std::uint8_t>();
  scratch_ = in.number<std::uint8_t>();
  divisor_ = in.number<std::uint16_t>();
  fifo_enabled_ = in.boolean();
  overrun_ = in.boolean();
  transmitter_cause_ = in.boolean();
  const auto waiting = in.bytes(kFifoSize);
  if (!in.ok()) return Error(Errc::kCorrupt, "the saved state of the serial port is damaged");
  fifo_first_ = 0;
  fifo_count_ = 0;
  for (const std::byte byte : waiting) push_received(std::to_integer<std::uint8_t>(byte));
  return {};
}

}  // namespace mvm::vmm
