// SPDX-License-Identifier: Apache-2.0
// The memory map and the boot parameters by which an x86_64 kernel learns of it, of its command
// line, its initrd and the ACPI tables.
//
// Source: Linux Documentation/arch/x86/boot.rst and zero-page.rst; Xen
// xen/include/public/arch-x86/hvm/start_info.h.
// Threads: none.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "vmm/loader/loader.h"
#include "vmm/memory/guest_memory.h"

namespace mvm::vmm {

// The values that E820 and hvm_start_info share.
enum class MemoryType : std::uint32_t { kRam = 1, kReserved = 2 };

struct MemoryMapEntry {
  Gpa start = 0;
  std::uint64_t size = 0;
  MemoryType type = MemoryType::kRam;
};

// RAM below 640 KiB, the reserved area up to 1 MiB (ACPI tables, VM generation), RAM up to the MMIO
// gap, and RAM above 4 GiB. Shape: ordered, disjoint.
// Errors: kInvalidArgument when there is no RAM above 1 MiB.
Result<std::vector<MemoryMapEntry>> memory_map(const GuestMemory& memory);

// Writes the command line with its NUL to kCommandLineGpa. Errors: see write_boot_data.
Result<> write_command_line(const GuestMemory& memory, const LoadedKernel& kernel,
                            std::string_view command_line);

// Writes the zero page to kZeroPageGpa, or hvm_start_info to kStartInfoGpa, as the kernel's
// protocol wants it. Errors: kInvalidArgument when there is no memory for it.
Result<> write_boot_parameters(const GuestMemory& memory, const LoadedKernel& kernel, Gpa rsdp);

}  // namespace mvm::vmm
