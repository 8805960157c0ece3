// SPDX-License-Identifier: Apache-2.0
// What an architecture provides to the machine: where devices sit, and everything that a loaded
// kernel finds in memory when its first vcpu starts. x86_64 has it as ACPI tables and boot
// parameters; another architecture implements the same functions with what its kernels expect.
// What the vcpus need besides (registers.h, cpuid.h) is the architecture's own.
//
// Threads: none; everything here is a function of its arguments.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/result.h"
#include "vmm/loader/loader.h"
#include "vmm/memory/guest_memory.h"

namespace mvm::vmm {

// Where one virtio-mmio device sits.
struct MmioSlot {
  Gpa gpa = 0;
  std::uint64_t size = 0;
  std::uint32_t gsi = 0;
};

// The place of device number `index`, counted from 0. Errors: kLimit.
Result<MmioSlot> mmio_slot(unsigned index);

// "virtio_mmio.device=4K@0xd0000000:5", for kernels that do not read the machine's tables.
std::string mmio_parameter(const MmioSlot& slot);

struct BootPlan {
  std::string_view command_line;
  unsigned vcpus = 1;
  std::span<const MmioSlot> devices = {};
  bool serial = true;     // a 16550 at the usual place
  bool keyboard = false;  // an i8042 with a keyboard: found, but it costs boot time
  bool vm_generation = true;
};

constexpr unsigned kArchMaxVcpus = 32;

// Writes command line, machine tables and boot parameters for `kernel`, which is in memory with its
// initrd. The VM generation identifier itself is the caller's (kVmGenIdGpa).
// Errors: kInvalidArgument for no or too many vcpus, a command line with a NUL, too little memory;
// kLimit for a command line longer than the kernel takes, and for too many devices.
Result<> write_boot_data(const GuestMemory& memory, const LoadedKernel& kernel,
                         const BootPlan& plan);

}  // namespace mvm::vmm
