// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/pm.h"

namespace mvm::vmm {
namespace {

constexpr std::uint8_t kSleepEnable = 0x20;
constexpr unsigned kSleepTypeShift = 2;
constexpr std::uint8_t kSleepTypeMask = 0x07;

constexpr std::uint8_t kSystemReset = 0x02;
constexpr std::uint8_t kResetCpu = 0x04;
constexpr std::uint8_t kFullReset = 0x08;

}  // namespace

// Control is write-only; status would have WAK_STS, and no guest of ours has ever slept.
std::uint8_t SleepControl::read_port(std::uint16_t) { return 0; }

void SleepControl::write_port(std::uint16_t offset, std::uint8_t value) {
  if (offset != 0 || (value & kSleepEnable) == 0) return;
  if ((value >> kSleepTypeShift & kSleepTypeMask) == kSleepTypeOff && power_off_) power_off_();
}

std::uint8_t ResetControl::read_port(std::uint16_t) { return kind_; }

void ResetControl::write_port(std::uint16_t, std::uint8_t value) {
  kind_ = value & (kSystemReset | kFullReset);
  if ((value & kResetCpu) != 0 && reset_) reset_();
}

}  // namespace mvm::vmm
