// SPDX-License-Identifier: Apache-2.0
// Where a vcpu's memory-mapped and port accesses go.
//
// Some writes KVM only notes: the guest need not wait for what nobody looks at. They are made
// before the next access of any vcpu, and whenever somebody calls catch_up().
//
// Threads: fixed before the vcpus start, then used by all of them; what lies behind locks for
// itself.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "vmm/kvm/kvm.h"
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

  void set_noted(KvmNotedWrites noted) { noted_.emplace(std::move(noted)); }
  // Makes the writes that have been noted so far. Threads: any; a device may hold its own lock.
  void catch_up();

  // An address without a device reads as all ones, and writes to it go nowhere.
  void read(Gpa gpa, std::span<std::byte> out);
  void write(Gpa gpa, std::span<const std::byte> in);

 private:
  MmioTransport* find(Gpa gpa) const;
  void make(Gpa gpa, std::span<const std::byte> in);
  PortBus ports_;
  std::vector<MmioTransport*> slots_;
  std::function<void()> boot_timer_;
  std::mutex noted_mutex_;
  std::optional<KvmNotedWrites> noted_;
};

}  // namespace mvm::vmm
