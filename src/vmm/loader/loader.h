// SPDX-License-Identifier: Apache-2.0
// Puts a kernel and an initrd into the guest's memory.
//
// A kernel is an ELF vmlinux, entered by PVH when it has the note for it and else by the 64-bit
// Linux boot protocol, or a bzImage, entered by the 64-bit protocol. Both files may come from
// anybody: every offset and size in them is checked against the file and against RAM before it is
// used, and content is read with pread(2) straight into guest memory, so that a file cut short
// meanwhile is an error and no signal. Holes of a file are skipped: memory must be zero before.
//
// Threads: none; the guest does not run yet.
// Source: System V ABI, chapters 4 and 5; Linux Documentation/arch/x86/boot.rst; Xen
// docs/misc/pvh.pandoc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "vmm/memory/guest_memory.h"

namespace mvm::vmm {

// Nothing of a kernel or initrd is put below: boot data and the legacy hole are there.
constexpr Gpa kKernelMinimum = 0x10'0000;

// Room for a setup header in the zero page (0x1f1 to 0x290).
constexpr std::size_t kSetupHeaderRoom = 0x9f;

enum class BootProtocol {
  kPvh,      // 32-bit protected mode, paging off, hvm_start_info in EBX
  kLinux64,  // long mode with identity page tables, the zero page in RSI
};

struct LoadedInitrd {
  Gpa gpa = 0;  // page-aligned
  std::uint64_t size = 0;
};

struct LoadedKernel {
  BootProtocol protocol = BootProtocol::kLinux64;
  Gpa entry = 0;
  // First address above what the kernel needs until it knows the memory map (BSS included).
  Gpa end = 0;
  // Highest address that a byte of the initrd may have.
  Gpa initrd_max = 0;
  // Units: bytes, the NUL at the end included.
  std::size_t command_line_limit = 0;
  std::optional<LoadedInitrd> initrd;
  // A bzImage's setup header as it stands in the file at 0x1f1; at most kSetupHeaderRoom.
  // Empty for ELF.
  std::vector<std::byte> setup_header;
};

// Reads the kernel open as `fd`; `name` is its path for messages. The descriptor's position does
// not matter.
// Errors: kCorrupt names the file and the field; kUnsupported for another machine, another format,
// or a bzImage without a 64-bit entry; kLimit when the kernel does not fit into RAM.
Result<LoadedKernel> load_kernel(const GuestMemory& memory, int fd, const std::string& name);

// Reads the initrd as high as the kernel and the RAM below the MMIO gap permit, and notes it in
// `kernel`. An empty file is no initrd.
// Errors: kLimit when it does not fit above the kernel; kCorrupt when the file shrinks.
Result<> load_initrd(const GuestMemory& memory, int fd, const std::string& name,
                     LoadedKernel& kernel);

}  // namespace mvm::vmm
