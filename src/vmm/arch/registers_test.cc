// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/registers.h"

#include <gtest/gtest.h>

#include <cstring>

#include "vmm/arch/layout.h"

namespace mvm::vmm {
namespace {

LoadedKernel kernel_with(BootProtocol protocol) {
  LoadedKernel out;
  out.protocol = protocol;
  out.entry = 0x100'0850;
  return out;
}

// Follows the four levels as the processor does; false when an address is not mapped.
bool translate(const GuestMemory& memory, Gpa root, std::uint64_t address, std::uint64_t& out) {
  const auto entry = [&](Gpa table, unsigned shift) {
    return *memory.read_object<std::uint64_t>(table + (address >> shift & 511) * 8);
  };
  const std::uint64_t pml4 = entry(root, 39);
  if ((pml4 & 1) == 0) return false;
  const std::uint64_t pdpt = entry(pml4 & ~0xfffULL, 30);
  if ((pdpt & 1) == 0) return false;
  const std::uint64_t pd = entry(pdpt & ~0xfffULL, 21);
  if ((pd & 0x81) != 0x81) return false;
  out = (pd & ~0x1f'ffffULL) | (address & 0x1f'ffff);
  return true;
}

TEST(Registers, PvhEntersWithPagingOffAndTheStartInfoInEbx) {
  kvm_sregs sregs{};
  sregs.apic_base = 0xfee0'0900;
  sregs.cr0 = 0x6000'0010;  // as after reset: caches off

  set_boot_sregs(sregs, BootProtocol::kPvh);
  const kvm_regs regs = boot_regs(kernel_with(BootProtocol::kPvh));

  EXPECT_EQ(regs.rip, 0x100'0850U);
  EXPECT_EQ(regs.rbx, kStartInfoGpa);
  EXPECT_EQ(regs.rflags, 2U);
  EXPECT_EQ(sregs.cr0, 0x11U);
  EXPECT_EQ(sregs.cr4, 0U);
  EXPECT_EQ(sregs.efer, 0U);
  EXPECT_EQ(sregs.apic_base, 0xfee0'0900U);
  EXPECT_EQ(sregs.cs.limit, 0xffff'ffffU);
  EXPECT_EQ(sregs.cs.db, 1);
  EXPECT_EQ(sregs.cs.l, 0);
  EXPECT_EQ(sregs.tr.limit, 0x67U);
  EXPECT_EQ(sregs.tr.s, 0);
}

TEST(Registers, Linux64EntersInLongModeWithTheProtocolsSelectors) {
  kvm_sregs sregs{};

  set_boot_sregs(sregs, BootProtocol::kLinux64);
  const kvm_regs regs = boot_regs(kernel_with(BootProtocol::kLinux64));

  EXPECT_EQ(regs.rsi, kZeroPageGpa);
  EXPECT_EQ(sregs.cs.selector, 0x10);
  EXPECT_EQ(sregs.ds.selector, 0x18);
  EXPECT_EQ(sregs.cs.l, 1);
  EXPECT_EQ(sregs.cs.db, 0);
  EXPECT_EQ(sregs.efer, 0x500U);
  EXPECT_EQ(sregs.cr0 >> 31, 1U);
  EXPECT_EQ(sregs.cr3, kPageTablesGpa);
}

TEST(Registers, TheGdtInMemoryIsWhatTheSegmentsSay) {
  const auto memory = *GuestMemory::create(mebibytes(2));
  kvm_sregs sregs{};

  ASSERT_TRUE(write_boot_structures(memory, BootProtocol::kLinux64).has_value());
  set_boot_sregs(sregs, BootProtocol::kLinux64);

  const auto code = memory.read_object<std::uint64_t>(sregs.gdt.base + sregs.cs.selector);
  ASSERT_TRUE(code.has_value());
  EXPECT_EQ(*code >> 40 & 0xf, sregs.cs.type);
  EXPECT_EQ(*code >> 53 & 1, sregs.cs.l);
  EXPECT_GE(sregs.gdt.limit, sregs.tr.selector + 15U);
}

TEST(Registers, PageTablesMapFourGibibytesToThemselves) {
  const auto memory = *GuestMemory::create(mebibytes(2));
  ASSERT_TRUE(write_boot_structures(memory, BootProtocol::kLinux64).has_value());

  for (const std::uint64_t address : {0x0ULL, 0x10'0200ULL, 0x7fff'f000ULL, 0xffff'ffffULL}) {
    std::uint64_t physical = 0;
    EXPECT_TRUE(translate(memory, kPageTablesGpa, address, physical));
    EXPECT_EQ(physical, address);
  }
  std::uint64_t physical = 0;
  EXPECT_FALSE(translate(memory, kPageTablesGpa, 0x1'0000'0000, physical));
}

TEST(Registers, PageTablesEndBelowTheCommandLine) {
  EXPECT_LE(kPageTablesGpa + 6 * GuestMemory::kPageSize, kCommandLineGpa);
}

TEST(Registers, LapicLinesKeepTheirMaskAndGetTheirModes) {
  kvm_lapic_state lapic{};
  const std::uint32_t masked = 0x1'0000;
  std::memcpy(lapic.regs + 0x360, &masked, sizeof masked);

  set_boot_lapic(lapic);

  std::uint32_t lint0 = 0;
  std::uint32_t lint1 = 0;
  std::memcpy(&lint0, lapic.regs + 0x350, sizeof lint0);
  std::memcpy(&lint1, lapic.regs + 0x360, sizeof lint1);
  EXPECT_EQ(lint0, 0x700U);
  EXPECT_EQ(lint1, 0x1'0400U);
}

TEST(Registers, MemoryDefaultsToWriteBack) {
  std::uint64_t value = 0;
  for (const kvm_msr_entry& entry : boot_msrs())
    if (entry.index == 0x2ff) value = entry.data;
  EXPECT_EQ(value, 0x806U);
}

}  // namespace
}  // namespace mvm::vmm
