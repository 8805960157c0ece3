// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/cmos.h"

#include <utility>

namespace mvm::vmm {
namespace {

constexpr std::uint8_t kStatusA = 0x0a;
constexpr std::uint8_t kStatusB = 0x0b;
constexpr std::uint8_t kStatusC = 0x0c;
constexpr std::uint8_t kStatusD = 0x0d;
constexpr std::uint8_t kDividers = 0x26;    // A: 32.768 kHz, 1024 Hz; no update is ever in progress
constexpr std::uint8_t kFormatBits = 0x07;  // B: binary, 24-hour, daylight saving
constexpr std::uint8_t k24Hours = 0x02;
constexpr std::uint8_t kPowerGood = 0x80;  // D

std::uint8_t decimal(int value) {
  return static_cast<std::uint8_t>(value / 10 % 10 << 4 | value % 10);
}

}  // namespace

Cmos::Cmos(std::function<std::time_t()> now) : now_(std::move(now)) { bytes_[kStatusB] = k24Hours; }

std::uint8_t Cmos::read_register(std::uint8_t index) const {
  const std::time_t now = now_();
  std::tm time{};
  if (::gmtime_r(&now, &time) == nullptr) return 0;
  switch (index) {
    case 0x00:
      return decimal(time.tm_sec);
    case 0x02:
      return decimal(time.tm_min);
    case 0x04:
      return decimal(time.tm_hour);
    case 0x06:
      return decimal(time.tm_wday + 1);
    case 0x07:
      return decimal(time.tm_mday);
    case 0x08:
      return decimal(time.tm_mon + 1);
    case 0x09:
      return decimal(time.tm_year % 100);
    case 0x32:
      return decimal((time.tm_year + 1900) / 100);
    case kStatusA:
      return kDividers;
    case kStatusC:
      return 0;  // no interrupt is pending
    case kStatusD:
      return kPowerGood;
    default:
      return bytes_[index];
  }
}

std::uint8_t Cmos::read_port(std::uint16_t offset) {
  if (offset != 1) return 0xff;  // the index cannot be read back
  const std::lock_guard lock(mutex_);
  return read_register(index_);
}

void Cmos::write_port(std::uint16_t offset, std::uint8_t value) {
  const std::lock_guard lock(mutex_);
  if (offset == 0) {
    index_ = value & 0x7f;  // the top bit masks the NMI of a PC
  } else if (index_ == kStatusB) {
    bytes_[kStatusB] = static_cast<std::uint8_t>((value & ~kFormatBits) | k24Hours);
  } else {
    bytes_[index_] = value;
  }
}

void Cmos::save(ByteWriter& out) const {
  const std::lock_guard lock(mutex_);
  out.number(index_).bytes(std::as_bytes(std::span(bytes_)));
}

Result<> Cmos::restore(ByteReader& in) {
  const std::lock_guard lock(mutex_);
  const auto index = in.number<std::uint8_t>();
  const auto bytes = in.bytes(bytes_.size());
  if (!in.ok() || index >= bytes_.size() || bytes.size() != bytes_.size())
    return Error(Errc::kCorrupt, "the saved state of the real-time clock is damaged");
  index_ = index;
  for (std::size_t i = 0; i < bytes_.size(); ++i)
    bytes_[i] = std::to_integer<std::uint8_t>(bytes[i]);
  return {};
}

}  // namespace mvm::vmm
