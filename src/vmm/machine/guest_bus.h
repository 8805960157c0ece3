// SPDX-License-Identifier: Apache-2.0
// Where a vcpu's memory-mapped and port accesses go.
//
// Threads: fixed before the vcpus start, then used by all of them; what lies behind locks for
// itself.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "vmm/legacy/port_bus.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/mmio_transport.h"

namespace mvm::vmm {

// A page above the slots of devices. Source: Firecracker's boot timer has the same value.
constexpr Gpa kBootTimerGpa = kMmioGapStart + 0x1f000;
constexpr std::byte kBootDone{123};

class GuestBus {
 public:
  PortBus& ports() { return ports_; }
  // Devices in the order of their slots (arch.h, mmio_slot).
  void add(MmioTransport& transport) { slots_.push_back(&transport); }
  // Calls back, on a vcpu's thread, when a guest writes kBootDone to kBootTimerGpa.
  void set_boot_timer(std::function<void()> call) { boot_timer_ = std::move(call); }

  // An address without a device reads as all ones, and writes to it go nowhere.
  void read(Gpa gpa, std::span<std::byte> out);
  void write(Gpa gpa, std::span<const std::byte> in);

 private:
  MmioTransport* find(Gpa gpa) const;
  PortBus ports_;
  std::vector<MmioTransport*> slots_;
  std::function<void()> boot_timer_;
};

}  // namespace mvm::vmm
