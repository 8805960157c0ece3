// SPDX-License-Identifier: Apache-2.0
// The ACPI tables of an x86_64 microVM: hardware-reduced, without PCI, power management timer, SCI.
//
// RSDP → XSDT → FADT (reset by port, power-off by the sleep control register) → DSDT
//             → MADT (one local APIC a vcpu, one I/O APIC)
// The DSDT holds one LNRO0005 device per virtio-mmio slot, the serial port, a keyboard controller
// if wanted, \_S5 for power-off, and a generic event device that tells the guest of a new VM
// generation.
//
// Source: ACPI 6.5, sections 5.2 and 5.6.9; Virtual Machine Generation ID (Microsoft, 2012).
// Threads: none.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/result.h"
#include "vmm/arch/arch.h"
#include "vmm/memory/guest_memory.h"

namespace mvm::vmm {

struct AcpiConfig {
  unsigned vcpus = 1;
  std::span<const MmioSlot> devices = {};
  bool serial = true;
  bool keyboard = false;
  bool vm_generation = true;
};

struct AcpiTables {
  std::vector<std::byte> rsdp;    // for kRsdpGpa
  std::vector<std::byte> tables;  // for kAcpiTablesGpa
};

// Errors: kInvalidArgument for no vcpu; kLimit for more than kArchMaxVcpus or kMaxMmioDevices.
Result<AcpiTables> build_acpi(const AcpiConfig& config);

// Builds and writes them; returns the RSDP's address.
Result<Gpa> write_acpi(const GuestMemory& memory, const AcpiConfig& config);

}  // namespace mvm::vmm
