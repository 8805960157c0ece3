// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/boot_params.h"

#include <asm/bootparam.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "vmm/arch/arch.h"
#include "vmm/arch/layout.h"

namespace mvm::vmm {
namespace {

using testing::HasSubstr;

LoadedKernel kernel_with(BootProtocol protocol) {
  LoadedKernel out;
  out.protocol = protocol;
  out.entry = 0x100'0000;
  out.end = 0x200'0000;
  out.command_line_limit = 2048;
  out.initrd = LoadedInitrd{0x300'0000, 0x1234};
  return out;
}

std::uint64_t u64(const GuestMemory& memory, Gpa gpa) {
  return *memory.read_object<std::uint64_t>(gpa);
}
std::uint32_t u32(const GuestMemory& memory, Gpa gpa) {
  return *memory.read_object<std::uint32_t>(gpa);
}

TEST(MemoryMap, ReservesTheAreaOfTheTables) {
  const auto memory = *GuestMemory::create(mebibytes(128));
  const auto map = memory_map(memory);

  ASSERT_TRUE(map.has_value());
  ASSERT_EQ(map->size(), 3U);
  EXPECT_EQ((*map)[0].size, kLowRamEnd);
  EXPECT_EQ((*map)[1].type, MemoryType::kReserved);
  EXPECT_LE((*map)[1].start, kRsdpGpa);
  EXPECT_GE((*map)[1].start + (*map)[1].size, kVmGenIdGpa + kVmGenIdSize);
  EXPECT_EQ((*map)[2].start, kHighRamStart);
  EXPECT_EQ((*map)[2].start + (*map)[2].size, mebibytes(128).count);
}

TEST(MemoryMap, GoesOnAboveTheGap) {
  const auto memory = *GuestMemory::create(gibibytes(5));
  const auto map = memory_map(memory);

  ASSERT_TRUE(map.has_value());
  ASSERT_EQ(map->size(), 4U);
  EXPECT_EQ((*map)[2].start + (*map)[2].size, kMmioGapStart);
  EXPECT_EQ((*map)[3].start, kMmioGapEnd);
  EXPECT_EQ((*map)[3].size, gibibytes(5).count - kMmioGapStart);
}

TEST(MemoryMap, RefusesAMachineWithoutRoomForAKernel) {
  const auto memory = *GuestMemory::create(mebibytes(1));
  const auto map = memory_map(memory);

  ASSERT_FALSE(map.has_value());
  EXPECT_THAT(map.error().text(), HasSubstr("memory of 1M"));
}

TEST(BootParams, PvhGetsStartInfoWithModuleAndMap) {
  const auto memory = *GuestMemory::create(mebibytes(128));

  ASSERT_TRUE(write_boot_parameters(memory, kernel_with(BootProtocol::kPvh), kRsdpGpa).has_value());

  EXPECT_EQ(u32(memory, kStartInfoGpa), 0x336e'c578U);
  EXPECT_EQ(u32(memory, kStartInfoGpa + 4), 1U);
  EXPECT_EQ(u32(memory, kStartInfoGpa + 12), 1U);
  const Gpa module = u64(memory, kStartInfoGpa + 16);
  EXPECT_EQ(u64(memory, module), 0x300'0000U);
  EXPECT_EQ(u64(memory, module + 8), 0x1234U);
  EXPECT_EQ(u64(memory, kStartInfoGpa + 24), kCommandLineGpa);
  EXPECT_EQ(u64(memory, kStartInfoGpa + 32), kRsdpGpa);
  const Gpa map = u64(memory, kStartInfoGpa + 40);
  EXPECT_EQ(u32(memory, kStartInfoGpa + 48), 3U);
  EXPECT_EQ(u64(memory, map + 24), kLowRamEnd);
  EXPECT_EQ(u32(memory, map + 24 + 16), 2U);
}

TEST(BootParams, PvhWithoutAnInitrdHasNoModule) {
  const auto memory = *GuestMemory::create(mebibytes(128));
  LoadedKernel kernel = kernel_with(BootProtocol::kPvh);
  kernel.initrd.reset();

  ASSERT_TRUE(write_boot_parameters(memory, kernel, kRsdpGpa).has_value());

  EXPECT_EQ(u32(memory, kStartInfoGpa + 12), 0U);
  EXPECT_EQ(u64(memory, kStartInfoGpa + 16), 0U);
}

TEST(BootParams, LinuxGetsAZeroPage) {
  const auto memory = *GuestMemory::create(mebibytes(128));

  ASSERT_TRUE(
      write_boot_parameters(memory, kernel_with(BootProtocol::kLinux64), kRsdpGpa).has_value());

  const auto page = memory.read_object<boot_params>(kZeroPageGpa);
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->hdr.boot_flag, 0xaa55);
  EXPECT_EQ(page->hdr.type_of_loader, 0xff);
  EXPECT_EQ(page->hdr.cmd_line_ptr, kCommandLineGpa);
  EXPECT_EQ(page->hdr.ramdisk_image, 0x300'0000U);
  EXPECT_EQ(page->hdr.ramdisk_size, 0x1234U);
  EXPECT_EQ(page->acpi_rsdp_addr, kRsdpGpa);
  EXPECT_EQ(page->e820_entries, 3);
  const std::uint64_t high = page->e820_table[2].addr;
  EXPECT_EQ(high, kHighRamStart);
  EXPECT_EQ(page->sentinel, 0);
}

TEST(BootParams, ABzImagesOwnHeaderIsKept) {
  const auto memory = *GuestMemory::create(mebibytes(128));
  LoadedKernel kernel = kernel_with(BootProtocol::kLinux64);
  setup_header header{};
  header.version = 0x020f;
  header.init_size = 0x123'4000;
  header.setup_data = 0xdead;  // would be followed by the kernel
  kernel.setup_header.resize(sizeof header);
  std::memcpy(kernel.setup_header.data(), &header, sizeof header);

  ASSERT_TRUE(write_boot_parameters(memory, kernel, kRsdpGpa).has_value());

  const auto page = memory.read_object<boot_params>(kZeroPageGpa);
  EXPECT_EQ(page->hdr.version, 0x020f);
  EXPECT_EQ(page->hdr.init_size, 0x123'4000U);
  EXPECT_EQ(page->hdr.setup_data, 0U);
}

TEST(BootData, PutsEverythingInPlace) {
  const auto memory = *GuestMemory::create(mebibytes(128));
  const std::vector<MmioSlot> slots = {*mmio_slot(0), *mmio_slot(1)};
  BootPlan plan;
  plan.command_line = "console=ttyS0 reboot=k";
  plan.vcpus = 4;
  plan.devices = slots;

  ASSERT_TRUE(write_boot_data(memory, kernel_with(BootProtocol::kPvh), plan).has_value());

  std::string text(plan.command_line.size() + 1, '?');
  memory.read(kCommandLineGpa, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(text, std::string("console=ttyS0 reboot=k") + '\0');
  EXPECT_EQ(u64(memory, kRsdpGpa), 0x2052'5450'2044'5352U);  // "RSD PTR "
  EXPECT_EQ(u32(memory, kStartInfoGpa), 0x336e'c578U);
}

TEST(BootData, RefusesACommandLineThatTheKernelWouldCut) {
  const auto memory = *GuestMemory::create(mebibytes(128));
  BootPlan plan;
  const std::string text(2048, 'x');
  plan.command_line = text;

  const auto done = write_boot_data(memory, kernel_with(BootProtocol::kPvh), plan);

  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), Errc::kLimit);
  EXPECT_EQ(done.error().text(), "kernel command line of 2048 bytes, this kernel takes 2047");
}

TEST(BootData, RefusesANulInTheCommandLine) {
  const auto memory = *GuestMemory::create(mebibytes(128));
  BootPlan plan;
  plan.command_line = std::string_view("a\0b", 3);

  const auto done = write_boot_data(memory, kernel_with(BootProtocol::kPvh), plan);

  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), Errc::kInvalidArgument);
}

TEST(MmioSlot, DevicesHaveAPageAndALineEach) {
  EXPECT_EQ(mmio_slot(0)->gpa, 0xd000'0000U);
  EXPECT_EQ(mmio_slot(1)->gpa, 0xd000'1000U);
  EXPECT_EQ(mmio_slot(1)->gsi, 6U);
  EXPECT_EQ(mmio_slot(kMaxMmioDevices - 1)->gsi, kGedGsi - 1);
  EXPECT_EQ(mmio_slot(kMaxMmioDevices).error().code(), Errc::kLimit);
}

TEST(MmioSlot, HasAParameterForKernelsWithoutAcpi) {
  EXPECT_EQ(mmio_parameter(*mmio_slot(0)), "virtio_mmio.device=4K@0xd0000000:5");
}

}  // namespace
}  // namespace mvm::vmm
