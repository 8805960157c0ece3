// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/boot_params.h"

#include <asm/bootparam.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "vmm/arch/layout.h"

namespace mvm::vmm {
namespace {

// Source: Xen xen/include/public/arch-x86/hvm/start_info.h, version 1.
struct HvmStartInfo {
  std::uint32_t magic = 0x336e'c578;
  std::uint32_t version = 1;
  std::uint32_t flags = 0;
  std::uint32_t module_count = 0;
  std::uint64_t modules = 0;
  std::uint64_t command_line = 0;
  std::uint64_t rsdp = 0;
  std::uint64_t memory_map = 0;
  std::uint32_t memory_map_entries = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(HvmStartInfo) == 56);

struct HvmModule {
  std::uint64_t gpa = 0;
  std::uint64_t size = 0;
  std::uint64_t command_line = 0;
  std::uint64_t reserved = 0;
};
static_assert(sizeof(HvmModule) == 32);

struct HvmMemoryMapEntry {
  std::uint64_t start = 0;
  std::uint64_t size = 0;
  std::uint32_t type = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(HvmMemoryMapEntry) == 24);

constexpr Gpa kModulesGpa = kStartInfoGpa + 0x40;
constexpr Gpa kMemoryMapGpa = kStartInfoGpa + 0x80;

Error no_room() { return Error(Errc::kInvalidArgument, "memory has no room for boot parameters"); }

Result<> write_start_info(const GuestMemory& memory, const LoadedKernel& kernel, Gpa rsdp,
                          const std::vector<MemoryMapEntry>& map) {
  HvmStartInfo info;
  info.command_line = kCommandLineGpa;
  info.rsdp = rsdp;
  info.memory_map = kMemoryMapGpa;
  info.memory_map_entries = static_cast<std::uint32_t>(map.size());
  if (kernel.initrd) {
    info.module_count = 1;
    info.modules = kModulesGpa;
    if (!memory.write_object(kModulesGpa, HvmModule{kernel.initrd->gpa, kernel.initrd->size}))
      return no_room();
  }
  for (std::size_t i = 0; i < map.size(); ++i) {
    const HvmMemoryMapEntry entry = {map[i].start, map[i].size,
                                     static_cast<std::uint32_t>(map[i].type)};
    if (!memory.write_object(kMemoryMapGpa + i * sizeof entry, entry)) return no_room();
  }
  if (!memory.write_object(kStartInfoGpa, info)) return no_room();
  return {};
}

// What a boot loader would have found in the file, for an ELF kernel that has no setup header.
void default_setup_header(setup_header& header) {
  header.boot_flag = 0xaa55;
  std::memcpy(&header.header, "HdrS", 4);
  header.version = 0x020c;
  header.loadflags = LOADED_HIGH;
  header.kernel_alignment = 0x100'0000;
  header.xloadflags = XLF_KERNEL_64;
  header.cmdline_size = 2047;
}

Result<> write_zero_page(const GuestMemory& memory, const LoadedKernel& kernel, Gpa rsdp,
                         const std::vector<MemoryMapEntry>& map) {
  constexpr std::uint8_t kUnknownLoader = 0xff;
  boot_params params{};
  if (kernel.setup_header.empty()) {
    default_setup_header(params.hdr);
  } else {
    const std::size_t size = std::min(kernel.setup_header.size(), sizeof params.hdr);
    std::memcpy(&params.hdr, kernel.setup_header.data(), size);
  }
  params.hdr.type_of_loader = kUnknownLoader;
  params.hdr.cmd_line_ptr = static_cast<std::uint32_t>(kCommandLineGpa);
  params.hdr.setup_data = 0;
  params.hdr.ramdisk_image = params.hdr.ramdisk_size = 0;
  if (kernel.initrd) {
    params.hdr.ramdisk_image = static_cast<std::uint32_t>(kernel.initrd->gpa);
    params.hdr.ramdisk_size = static_cast<std::uint32_t>(kernel.initrd->size);
  }
  params.acpi_rsdp_addr = rsdp;
  for (const MemoryMapEntry& entry : map) {
    boot_e820_entry out{};
    out.addr = entry.start;
    out.size = entry.size;
    out.type = static_cast<std::uint32_t>(entry.type);
    params.e820_table[params.e820_entries++] = out;
  }
  if (!memory.write_object(kZeroPageGpa, params)) return no_room();
  return {};
}

}  // namespace

Result<std::vector<MemoryMapEntry>> memory_map(const GuestMemory& memory) {
  const auto& regions = memory.regions();
  if (regions.empty() || regions.front().start != 0 || regions.front().size <= kHighRamStart)
    return Error(Errc::kInvalidArgument, "memory of " + format_size(memory.size()) +
                                             " leaves nothing above 1 MiB for a kernel");
  std::vector<MemoryMapEntry> out = {
      {0, kLowRamEnd, MemoryType::kRam},
      {kLowRamEnd, kHighRamStart - kLowRamEnd, MemoryType::kReserved},
      {kHighRamStart, regions.front().size - kHighRamStart, MemoryType::kRam},
  };
  for (std::size_t i = 1; i < regions.size(); ++i)
    out.push_back({regions[i].start, regions[i].size, MemoryType::kRam});
  return out;
}

Result<> write_command_line(const GuestMemory& memory, const LoadedKernel& kernel,
                            std::string_view command_line) {
  const std::size_t limit = std::min<std::size_t>(kernel.command_line_limit, kCommandLineRoom);
  if (command_line.size() + 1 > limit)
    return Error(Errc::kLimit, "kernel command line of " + std::to_string(command_line.size()) +
                                   " bytes, this kernel takes " +
                                   std::to_string(limit == 0 ? 0 : limit - 1));
  if (command_line.find('\0') != std::string_view::npos)
    return Error(Errc::kInvalidArgument, "kernel command line with a NUL in it");
  const std::string text(command_line);
  if (!memory.write(kCommandLineGpa, std::as_bytes(std::span(text.c_str(), text.size() + 1))))
    return no_room();
  return {};
}

Result<> write_boot_parameters(const GuestMemory& memory, const LoadedKernel& kernel, Gpa rsdp) {
  const std::vector<MemoryMapEntry> map = MVM_TRY(memory_map(memory));
  if (kernel.protocol == BootProtocol::kPvh) return write_start_info(memory, kernel, rsdp, map);
  return write_zero_page(memory, kernel, rsdp, map);
}

}  // namespace mvm::vmm
