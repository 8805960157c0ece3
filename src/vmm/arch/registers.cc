// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/registers.h"

#include <array>
#include <cstdint>
#include <cstring>

#include "vmm/arch/layout.h"

namespace mvm::vmm {
namespace {

// Selectors 0x10 and 0x18 are what the 64-bit protocol prescribes for code and data.
constexpr std::uint16_t kCodeSelector = 0x10;
constexpr std::uint16_t kDataSelector = 0x18;
constexpr std::uint16_t kTaskSelector = 0x20;

using Gdt = std::array<std::uint64_t, 6>;

// Flat 4 GiB segments; a TSS descriptor takes two entries in long mode.
constexpr Gdt kProtectedModeGdt = {
    0, 0, 0x00cf'9b00'0000'ffff, 0x00cf'9300'0000'ffff, 0x0000'8b00'0000'0067, 0};
constexpr Gdt kLongModeGdt = {
    0, 0, 0x00af'9b00'0000'ffff, 0x00cf'9300'0000'ffff, 0x0000'8b00'0000'0067, 0};

constexpr std::uint64_t kCr0ProtectedMode = 1 << 0;
constexpr std::uint64_t kCr0ExtensionType = 1 << 4;
constexpr std::uint64_t kCr0Paging = 1ULL << 31;
constexpr std::uint64_t kCr4PhysicalAddressExtension = 1 << 5;
constexpr std::uint64_t kEferLongModeEnable = 1 << 8;
constexpr std::uint64_t kEferLongModeActive = 1 << 10;

constexpr std::uint64_t kPresentWritable = 0x3;
constexpr std::uint64_t kLargePage = 0x80;
constexpr std::uint64_t kLargePageSize = 2 << 20;
constexpr std::size_t kEntriesPerTable = 512;
constexpr std::size_t kDirectories = 4;  // 1 GiB each

constexpr std::uint32_t kMsrTsc = 0x10;
constexpr std::uint32_t kMsrMiscEnable = 0x1a0;
constexpr std::uint32_t kMsrMtrrDefType = 0x2ff;
constexpr std::uint64_t kFastStrings = 1 << 0;
constexpr std::uint64_t kNoBranchTraceStore = 1 << 11;
constexpr std::uint64_t kNoEventSampling = 1 << 12;
constexpr std::uint64_t kMtrrEnable = 1 << 11;
constexpr std::uint64_t kWriteBack = 6;

constexpr std::size_t kLapicLvt0 = 0x350;
constexpr std::size_t kLapicLvt1 = 0x360;
constexpr std::uint32_t kDeliveryModeMask = 0x700;
constexpr std::uint32_t kDeliveryNmi = 0x400;
constexpr std::uint32_t kDeliveryExtInt = 0x700;

const Gdt& gdt_of(BootProtocol protocol) {
  return protocol == BootProtocol::kPvh ? kProtectedModeGdt : kLongModeGdt;
}

kvm_segment segment(const Gdt& gdt, std::uint16_t selector) {
  const std::uint64_t entry = gdt[selector / 8];
  const auto bits = [entry](unsigned low, std::uint64_t mask) {
    return static_cast<std::uint8_t>(entry >> low & mask);
  };
  kvm_segment out{};
  out.selector = selector;
  out.type = bits(40, 0xf);
  out.s = bits(44, 1);
  out.dpl = bits(45, 3);
  out.present = bits(47, 1);
  out.avl = bits(52, 1);
  out.l = bits(53, 1);
  out.db = bits(54, 1);
  out.g = bits(55, 1);
  const auto limit = static_cast<std::uint32_t>((entry & 0xffff) | (entry >> 32 & 0xf'0000));
  out.limit = out.g != 0 ? limit << 12 | 0xfff : limit;
  return out;
}

// PML4, one PDPT, four directories of 2 MiB pages: six tables in a row.
bool write_page_tables(const GuestMemory& memory) {
  constexpr std::size_t kTables = 2 + kDirectories;
  std::array<std::uint64_t, kTables * kEntriesPerTable> entries{};
  const auto table = [](std::size_t index) {
    return (kPageTablesGpa + index * GuestMemory::kPageSize) | kPresentWritable;
  };
  entries[0] = table(1);
  for (std::size_t i = 0; i < kDirectories; ++i) entries[kEntriesPerTable + i] = table(2 + i);
  for (std::size_t i = 0; i < kDirectories * kEntriesPerTable; ++i)
    entries[2 * kEntriesPerTable + i] = i * kLargePageSize | kLargePage | kPresentWritable;
  return memory.write(kPageTablesGpa, std::as_bytes(std::span(entries)));
}

void set_delivery_mode(kvm_lapic_state& lapic, std::size_t at, std::uint32_t mode) {
  std::uint32_t entry = 0;
  std::memcpy(&entry, lapic.regs + at, sizeof entry);
  entry = (entry & ~kDeliveryModeMask) | mode;
  std::memcpy(lapic.regs + at, &entry, sizeof entry);
}

}  // namespace

Result<> write_boot_structures(const GuestMemory& memory, BootProtocol protocol) {
  const bool written = memory.write_object(kGdtGpa, gdt_of(protocol)) &&
                       memory.write_object(kIdtGpa, std::uint64_t{0}) &&
                       (protocol == BootProtocol::kPvh || write_page_tables(memory));
  if (!written) return Error(Errc::kInvalidArgument, "memory has no room for boot structures");
  return {};
}

kvm_regs boot_regs(const LoadedKernel& kernel) {
  constexpr std::uint64_t kFlagsReset = 2;
  kvm_regs out{};
  out.rflags = kFlagsReset;
  out.rip = kernel.entry;
  if (kernel.protocol == BootProtocol::kPvh) {
    out.rbx = kStartInfoGpa;
  } else {
    out.rsi = kZeroPageGpa;
    out.rsp = out.rbp = kBootStackGpa;
  }
  return out;
}

void set_boot_sregs(kvm_sregs& sregs, BootProtocol protocol) {
  const Gdt& gdt = gdt_of(protocol);
  sregs.cs = segment(gdt, kCodeSelector);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(gdt, kDataSelector);
  sregs.tr = segment(gdt, kTaskSelector);
  sregs.gdt = {};
  sregs.gdt.base = kGdtGpa;
  sregs.gdt.limit = sizeof gdt - 1;
  sregs.idt = {};
  sregs.idt.base = kIdtGpa;
  sregs.idt.limit = sizeof(std::uint64_t) - 1;
  sregs.cr0 = kCr0ProtectedMode | kCr0ExtensionType;
  sregs.cr3 = 0;
  sregs.cr4 = 0;
  sregs.efer = 0;
  if (protocol == BootProtocol::kPvh) return;
  sregs.cr0 |= kCr0Paging;
  sregs.cr3 = kPageTablesGpa;
  sregs.cr4 = kCr4PhysicalAddressExtension;
  sregs.efer = kEferLongModeEnable | kEferLongModeActive;
}

kvm_fpu boot_fpu() {
  kvm_fpu out{};
  out.fcw = 0x37f;
  out.mxcsr = 0x1f80;
  return out;
}

std::vector<kvm_msr_entry> boot_msrs() {
  // There is no performance monitoring: the two "unavailable" bits say so.
  return {
      {kMsrTsc, 0, 0},
      {kMsrMiscEnable, 0, kFastStrings | kNoBranchTraceStore | kNoEventSampling},
      {kMsrMtrrDefType, 0, kMtrrEnable | kWriteBack},
  };
}

void set_boot_lapic(kvm_lapic_state& lapic) {
  set_delivery_mode(lapic, kLapicLvt0, kDeliveryExtInt);
  set_delivery_mode(lapic, kLapicLvt1, kDeliveryNmi);
}

}  // namespace mvm::vmm
