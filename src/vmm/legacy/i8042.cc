// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/i8042.h"

#include <utility>

namespace mvm::vmm {
namespace {

constexpr std::uint16_t kDataPort = 0;
constexpr std::uint16_t kCommandPort = 4;

// Status register.
constexpr std::uint8_t kStatusOutputFull = 0x01;
constexpr std::uint8_t kStatusSystem = 0x04;
constexpr std::uint8_t kStatusCommand = 0x08;
constexpr std::uint8_t kStatusUnlocked = 0x10;

// Configuration byte.
constexpr std::uint8_t kConfigInterrupt = 0x01;
constexpr std::uint8_t kConfigSystem = 0x04;
constexpr std::uint8_t kConfigKeyboardOff = 0x10;
constexpr std::uint8_t kConfigAuxOff = 0x20;
constexpr std::uint8_t kConfigTranslate = 0x40;

// Controller commands.
constexpr std::uint8_t kReadConfig = 0x20;
constexpr std::uint8_t kWriteConfig = 0x60;
constexpr std::uint8_t kAuxDisable = 0xa7;
constexpr std::uint8_t kAuxEnable = 0xa8;
constexpr std::uint8_t kAuxTest = 0xa9;
constexpr std::uint8_t kSelfTest = 0xaa;
constexpr std::uint8_t kKeyboardTest = 0xab;
constexpr std::uint8_t kKeyboardDisable = 0xad;
constexpr std::uint8_t kKeyboardEnable = 0xae;
constexpr std::uint8_t kReadInputPort = 0xc0;
constexpr std::uint8_t kReadOutputPort = 0xd0;
constexpr std::uint8_t kWriteOutputPort = 0xd1;
constexpr std::uint8_t kWriteKeyboardBuffer = 0xd2;
constexpr std::uint8_t kWriteAuxBuffer = 0xd3;
constexpr std::uint8_t kWriteAux = 0xd4;
constexpr std::uint8_t kPulse = 0xf0;      // low nibble: the lines that are not pulsed
constexpr std::uint8_t kLineReset = 0x01;  // of the output port, active low

// Keyboard commands and answers.
constexpr std::uint8_t kSetLeds = 0xed;
constexpr std::uint8_t kEcho = 0xee;
constexpr std::uint8_t kScanCodeSet = 0xf0;
constexpr std::uint8_t kIdentify = 0xf2;
constexpr std::uint8_t kSetRate = 0xf3;
constexpr std::uint8_t kEnableScanning = 0xf4;
constexpr std::uint8_t kDisableScanning = 0xf5;
constexpr std::uint8_t kDefaults = 0xf6;
constexpr std::uint8_t kResetKeyboard = 0xff;
constexpr std::uint8_t kAcknowledge = 0xfa;
constexpr std::uint8_t kSelfTestPassed = 0xaa;
constexpr std::uint8_t kResend = 0xfe;

}  // namespace

void I8042::tell(const Effects& effects) const {
  if (effects.interrupt && wires_.interrupt) wires_.interrupt();
  if (effects.reset && wires_.reset) wires_.reset();
}

bool I8042::keyboard_speaks() const {
  return count_ > 0 && (config_ & kConfigKeyboardOff) == 0 && !reply_.has_value();
}

std::uint8_t I8042::read_port(std::uint16_t offset) {
  Effects effects;
  std::uint8_t value = 0xff;
  {
    const std::lock_guard lock(mutex_);
    if (offset == kDataPort) {
      value = take(effects);
    } else if (offset == kCommandPort) {
      value = kStatusUnlocked;
      if (reply_.has_value() || keyboard_speaks()) value |= kStatusOutputFull;
      if ((config_ & kConfigSystem) != 0) value |= kStatusSystem;
      if (last_was_command_) value |= kStatusCommand;
    }
  }
  tell(effects);
  return value;
}

void I8042::write_port(std::uint16_t offset, std::uint8_t value) {
  Effects effects;
  {
    const std::lock_guard lock(mutex_);
    if (offset == kDataPort) data(value, effects);
    if (offset == kCommandPort) command(value, effects);
  }
  tell(effects);
}

std::uint8_t I8042::take(Effects& effects) {
  if (const auto reply = std::exchange(reply_, std::nullopt)) {
    effects.interrupt = keyboard_speaks() && (config_ & kConfigInterrupt) != 0;
    return *reply;
  }
  if (!keyboard_speaks()) return 0;
  const std::uint8_t value = queue_[first_];
  first_ = (first_ + 1) % kQueueSize;
  --count_;
  effects.interrupt = keyboard_speaks() && (config_ & kConfigInterrupt) != 0;
  return value;
}

// Codes that do not fit are lost, as those of a keyboard whose buffer is full.
void I8042::type(std::span<const std::uint8_t> codes, Effects& effects) {
  const bool spoke = keyboard_speaks();
  for (const std::uint8_t code : codes) {
    if (count_ == kQueueSize) break;
    queue_[(first_ + count_++) % kQueueSize] = code;
  }
  if (!spoke && keyboard_speaks() && (config_ & kConfigInterrupt) != 0) effects.interrupt = true;
}

void I8042::set_config(std::uint8_t value, Effects& effects) {
  const bool spoke = keyboard_speaks() && (config_ & kConfigInterrupt) != 0;
  config_ = static_cast<std::uint8_t>(value & ~kConfigTranslate & 0x7f);
  if (!spoke && keyboard_speaks() && (config_ & kConfigInterrupt) != 0) effects.interrupt = true;
}

void I8042::command(std::uint8_t value, Effects& effects) {
  last_was_command_ = true;
  controller_command_ = 0;
  switch (value) {
    case kReadConfig:
      reply_ = config_;
      return;
    case kWriteConfig:
    case kWriteOutputPort:
    case kWriteKeyboardBuffer:
    case kWriteAuxBuffer:
    case kWriteAux:
      controller_command_ = value;
      return;
    case kAuxDisable:
      return set_config(config_ | kConfigAuxOff, effects);
    case kAuxEnable:
      return set_config(static_cast<std::uint8_t>(config_ & ~kConfigAuxOff), effects);
    case kAuxTest:
      reply_ = 0x01;  // its clock line is stuck: nothing is there
      return;
    case kSelfTest:
      config_ |= kConfigSystem;
      reply_ = 0x55;  // passed
      return;
    case kKeyboardTest:
      reply_ = 0x00;  // passed
      return;
    case kKeyboardDisable:
      return set_config(config_ | kConfigKeyboardOff, effects);
    case kKeyboardEnable:
      return set_config(static_cast<std::uint8_t>(config_ & ~kConfigKeyboardOff), effects);
    case kReadInputPort:
      reply_ = 0x80;  // the keyboard is not locked
      return;
    case kReadOutputPort:
      reply_ = 0x03;  // A20 is on, reset is not asserted
      return;
    default:
      if ((value & kPulse) == kPulse && (value & kLineReset) == 0) effects.reset = true;
  }
}

void I8042::data(std::uint8_t value, Effects& effects) {
  last_was_command_ = false;
  if (const std::uint8_t waiting = std::exchange(controller_command_, 0); waiting != 0)
    controller_data(waiting, value, effects);
  else
    keyboard_data(value, effects);
}

void I8042::controller_data(std::uint8_t command, std::uint8_t value, Effects& effects) {
  switch (command) {
    case kWriteConfig:
      return set_config(value, effects);
    case kWriteOutputPort:
      if ((value & kLineReset) == 0) effects.reset = true;
      return;
    case kWriteKeyboardBuffer:
      return type(std::span(&value, 1), effects);
    case kWriteAuxBuffer:
      // It should come back as the second port's byte; as ours it says that there is no such port.
      reply_ = value;
      return;
    default:  // kWriteAux: nobody is there
      return;
  }
}

// Answers the byte that belongs to a command of two; what it sets has no effect here.
std::uint8_t I8042::keyboard_parameter(std::uint8_t command, std::uint8_t value) {
  if (command == kScanCodeSet && value > 3) return kResend;
  return kAcknowledge;
}

void I8042::keyboard_data(std::uint8_t value, Effects& effects) {
  // A command makes the keyboard forget what it was about to say.
  first_ = 0;
  count_ = 0;
  config_ &= static_cast<std::uint8_t>(~kConfigKeyboardOff);  // writing to it enables it
  if (const std::uint8_t waiting = std::exchange(keyboard_command_, 0);
      waiting != 0 && value < kSetLeds) {
    const std::array<std::uint8_t, 2> answer{keyboard_parameter(waiting, value), 2};
    const bool asked = waiting == kScanCodeSet && value == 0;
    return type(std::span(answer).first(asked ? 2 : 1), effects);
  }
  constexpr std::array<std::uint8_t, 3> kIdentity{kAcknowledge, 0xab, 0x83};
  constexpr std::array<std::uint8_t, 2> kReset{kAcknowledge, kSelfTestPassed};
  switch (value) {
    case kEcho:
      return type(std::span(&kEcho, 1), effects);
    case kIdentify:
      return type(kIdentity, effects);
    case kResetKeyboard:
      scanning_ = true;
      return type(kReset, effects);
    case kSetLeds:
    case kScanCodeSet:
    case kSetRate:
      keyboard_command_ = value;
      return type(std::span(&kAcknowledge, 1), effects);
    case kEnableScanning:
    case kDisableScanning:
    case kDefaults:
      scanning_ = value != kDisableScanning;
      return type(std::span(&kAcknowledge, 1), effects);
    default:
      return type(std::span(&kResend, 1), effects);
  }
}

Result<> I8042::press_ctrl_alt_del() {
  // Set 2: left Ctrl 14, left Alt 11, Delete E0 71; released in the opposite order.
  constexpr std::array<std::uint8_t, 11> kCodes{0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0,
                                                0x71, 0xf0, 0x11, 0xf0, 0x14};
  Effects effects;
  {
    const std::lock_guard lock(mutex_);
    if (!scanning_ || (config_ & kConfigKeyboardOff) != 0)
      return Error(Errc::kUnavailable, "the guest has not enabled its keyboard");
    if (count_ + kCodes.size() > kQueueSize)
      return Error(Errc::kBusy, "the guest has not read what was typed before");
    type(kCodes, effects);
  }
  tell(effects);
  return {};
}

void I8042::save(ByteWriter& out) const {
  const std::lock_guard lock(mutex_);
  out.number(config_).boolean(last_was_command_);
  out.number(controller_command_).number(keyboard_command_).boolean(scanning_);
  out.boolean(reply_.has_value()).number(reply_.value_or(0));
  std::array<std::byte, kQueueSize> waiting{};
  for (std::size_t i = 0; i < count_; ++i)
    waiting[i] = std::byte{queue_[(first_ + i) % kQueueSize]};
  out.bytes(std::span(waiting).first(count_));
}

Result<> I8042::restore(ByteReader& in) {
  const std::lock_guard lock(mutex_);
  config_ = static_cast<std::uint8_t>(in.number<std::uint8_t>() & ~kConfigTranslate);
  last_was_command_ = in.boolean();
  controller_command_ = in.number<std::uint8_t>();
  keyboard_command_ = in.number<std::uint8_t>();
  scanning_ = in.boolean();
  const bool replies = in.boolean();
  const auto reply = in.number<std::uint8_t>();
  const auto waiting = in.bytes(kQueueSize);
  if (!in.ok())
    return Error(Errc::kCorrupt, "the saved state of the keyboard controller is damaged");
  reply_ = replies ? std::optional(reply) : std::nullopt;
  first_ = 0;
  count_ = 0;
  for (const std::byte code : waiting) queue_[count_++] = std::to_integer<std::uint8_t>(code);
  return {};
}

}  // namespace mvm::vmm
