// SPDX-License-Identifier: Apache-2.0
// The PC's I/O ports: which device answers at which port.
//
// Every device behind it has registers of one byte. An access of two or four bytes reaches none of
// them: so the dword that a kernel writes to 0xcf8 when it looks for PCI is not a reset at 0xcf9.
// A port or width that nobody answers reads as ones; what is written there is dropped.
//
// Threads: add() before the first vcpu runs; read() and write() from any vcpu's thread, without a
// lock and without an allocation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/result.h"

namespace mvm::vmm {

class PortDevice {
 public:
  virtual ~PortDevice() = default;
  // `offset` counts from the first port of the device's range.
  // Threads: any vcpu's, several at once.
  virtual std::uint8_t read_port(std::uint16_t offset) = 0;
  virtual void write_port(std::uint16_t offset, std::uint8_t value) = 0;
};

struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t count = 0;
};

class PortBus {
 public:
  static constexpr std::size_t kMaxRanges = 16;

  // The device must outlive the bus. Errors: kInvalidArgument for no ports or ports past 0xffff,
  // kAlreadyExists when the range overlaps another, kLimit.
  Result<> add(PortRange range, PortDevice& device);

  // One access of data.size() bytes, as KVM_EXIT_IO tells it; of a string instruction the caller
  // makes one call an element.
  void read(std::uint16_t port, std::span<std::byte> data) const;
  void write(std::uint16_t port, std::span<const std::byte> data) const;

 private:
  struct Entry {
    PortRange range;
    PortDevice* device = nullptr;
  };
  const Entry* find(std::uint16_t port) const;

  std::array<Entry, kMaxRanges> entries_;
  std::size_t count_ = 0;
};

}  // namespace mvm::vmm
