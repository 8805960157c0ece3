// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/port_bus.h"

#include <algorithm>
#include <string>

namespace mvm::vmm {
namespace {

constexpr std::uint32_t kPorts = 0x10000;

std::uint32_t end_of(PortRange range) { return std::uint32_t{range.first} + range.count; }

}  // namespace

Result<> PortBus::add(PortRange range, PortDevice& device) {
  if (range.count == 0 || end_of(range) > kPorts)
    return Error(Errc::kInvalidArgument, "a range of I/O ports must lie in 0 to 0xffff");
  for (const Entry& entry : std::span(entries_).first(count_)) {
    if (range.first < end_of(entry.range) && entry.range.first < end_of(range))
      return Error(Errc::kAlreadyExists,
                   "I/O port " + std::to_string(range.first) + " has a device already");
  }
  if (count_ == kMaxRanges) return Error(Errc::kLimit, "too many ranges of I/O ports");
  entries_[count_++] = {range, &device};
  return {};
}

const PortBus::Entry* PortBus::find(std::uint16_t port) const {
  for (const Entry& entry : std::span(entries_).first(count_)) {
    if (port >= entry.range.first && port < end_of(entry.range)) return &entry;
  }
  return nullptr;
}

void PortBus::read(std::uint16_t port, std::span<std::byte> data) const {
  std::fill(data.begin(), data.end(), std::byte{0xff});
  if (data.size() != 1) return;
  if (const Entry* entry = find(port))
    data[0] =
        std::byte{entry->device->read_port(static_cast<std::uint16_t>(port - entry->range.first))};
}

void PortBus::write(std::uint16_t port, std::span<const std::byte> data) const {
  if (data.size() != 1) return;
  if (const Entry* entry = find(port))
    entry->device->write_port(static_cast<std::uint16_t>(port - entry->range.first),
                              std::to_integer<std::uint8_t>(data[0]));
}

}  // namespace mvm::vmm
