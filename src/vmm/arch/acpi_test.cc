// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/acpi.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>

#include "sys/files.h"
#include "sys/io.h"
#include "sys/process.h"
#include "vmm/arch/aml.h"
#include "vmm/arch/layout.h"

namespace mvm::vmm {
namespace {

using testing::HasSubstr;

std::vector<MmioSlot> slots(unsigned count) {
  std::vector<MmioSlot> out;
  for (unsigned i = 0; i < count; ++i) out.push_back(*mmio_slot(i));
  return out;
}

std::uint64_t number(std::span<const std::byte> bytes, std::size_t at, std::size_t size) {
  std::uint64_t out = 0;
  std::memcpy(&out, bytes.data() + at, size);
  return out;
}

unsigned sum(std::span<const std::byte> bytes) {
  unsigned out = 0;
  for (const std::byte byte : bytes) out += static_cast<unsigned>(byte);
  return out & 0xff;
}

// The table at an address of the built block.
std::span<const std::byte> table_at(const AcpiTables& acpi, Gpa gpa) {
  const auto rest = std::span<const std::byte>(acpi.tables).subspan(gpa - kAcpiTablesGpa);
  return rest.first(number(rest, 4, 4));
}

std::string signature(std::span<const std::byte> table) {
  return std::string(reinterpret_cast<const char*>(table.data()), 4);
}

struct Parsed {
  std::span<const std::byte> xsdt, fadt, madt, dsdt;
};

Parsed parse(const AcpiTables& acpi) {
  Parsed out;
  out.xsdt = table_at(acpi, number(acpi.rsdp, 24, 8));
  out.fadt = table_at(acpi, number(out.xsdt, 36, 8));
  out.madt = table_at(acpi, number(out.xsdt, 44, 8));
  out.dsdt = table_at(acpi, number(out.fadt, 140, 8));
  return out;
}

TEST(Acpi, EveryTableIsReachedAndSumsToZero) {
  const auto devices = slots(3);
  const auto acpi = build_acpi({.vcpus = 2, .devices = devices});
  ASSERT_TRUE(acpi.has_value());
  const Parsed tables = parse(*acpi);

  EXPECT_EQ(sum(std::span(acpi->rsdp).first(20)), 0U);
  EXPECT_EQ(sum(acpi->rsdp), 0U);
  EXPECT_EQ(signature(tables.xsdt), "XSDT");
  EXPECT_EQ(signature(tables.fadt), "FACP");
  EXPECT_EQ(signature(tables.madt), "APIC");
  EXPECT_EQ(signature(tables.dsdt), "DSDT");
  EXPECT_EQ(sum(tables.xsdt), 0U);
  EXPECT_EQ(sum(tables.fadt), 0U);
  EXPECT_EQ(sum(tables.madt), 0U);
  EXPECT_EQ(sum(tables.dsdt), 0U);
}

TEST(Acpi, TheFadtTellsHowToResetAndPowerOff) {
  const auto acpi = build_acpi({});
  const auto fadt = parse(*acpi).fadt;

  ASSERT_EQ(fadt.size(), 276U);
  EXPECT_EQ(number(fadt, 112, 4) >> 20 & 1, 1U) << "hardware-reduced";
  EXPECT_EQ(number(fadt, 120, 8), kKeyboardCommand);
  EXPECT_EQ(number(fadt, 128, 1), kResetValue);
  EXPECT_EQ(number(fadt, 248, 8), kSleepControlPort);
  EXPECT_EQ(number(fadt, 260, 8), kSleepStatusPort);
  EXPECT_EQ(number(fadt, 109, 2) >> 1 & 1, 0U) << "no keyboard controller";
}

TEST(Acpi, TheMadtHasALocalApicForEachVcpu) {
  const auto acpi = build_acpi({.vcpus = kArchMaxVcpus});
  const auto madt = parse(*acpi).madt;

  ASSERT_EQ(madt.size(), 44 + 8 * kArchMaxVcpus + 12 + 6);
  for (std::size_t i = 0; i < kArchMaxVcpus; ++i) {
    EXPECT_EQ(number(madt, 44 + 8 * i + 3, 1), i);
    EXPECT_EQ(number(madt, 44 + 8 * i + 4, 4), 1U);
  }
  EXPECT_EQ(number(madt, 44 + 8 * kArchMaxVcpus + 4, 4), kIoApicGpa);
}

TEST(Acpi, RefusesWhatTheMachineCannotHave) {
  const auto devices = slots(kMaxMmioDevices);
  std::vector<MmioSlot> too_many = devices;
  too_many.push_back(devices.front());

  EXPECT_TRUE(build_acpi({.vcpus = kArchMaxVcpus, .devices = devices}).has_value());
  EXPECT_EQ(build_acpi({.vcpus = 0}).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(build_acpi({.vcpus = kArchMaxVcpus + 1}).error().code(), Errc::kLimit);
  EXPECT_EQ(build_acpi({.devices = too_many}).error().code(), Errc::kLimit);
}

TEST(Acpi, IsWrittenWhereTheRsdpSays) {
  const auto memory = *GuestMemory::create(mebibytes(2));

  const auto rsdp = write_acpi(memory, {});

  ASSERT_TRUE(rsdp.has_value());
  const auto xsdt = memory.read_object<std::uint64_t>(*rsdp + 24);
  EXPECT_EQ(memory.read_object<std::uint32_t>(*xsdt), 0x5444'5358U);  // "XSDT"
}

TEST(Aml, LengthsGrowOnlyWhenTheyMust) {
  const auto length_bytes = [](std::size_t content) {
    const aml::Term bytes(content - 5, std::byte{0});  // name and its prefix take 5
    const aml::Term scope = aml::scope("\\ABCD", {bytes});
    return scope.size() - 1 - content;
  };
  EXPECT_EQ(length_bytes(62), 1U);
  EXPECT_EQ(length_bytes(63), 2U);
  EXPECT_EQ(length_bytes(4093), 2U);
  EXPECT_EQ(length_bytes(4094), 3U);
}

TEST(Aml, PacksEisaIds) {
  const aml::Term id = aml::eisa_id("PNP0501");
  EXPECT_EQ(number(id, 1, 4), 0x0105'd041U);
}

// ACPICA reads what we wrote, and writes the same code from what it has read.
class AcpiTools : public testing::Test {
 protected:
  void SetUp() override {
    if (!sys::path_exists("/usr/bin/iasl")) GTEST_SKIP() << "acpica-tools is not installed";
  }
  sys::TempDir dir_ = std::move(*sys::TempDir::create("/tmp", "mvm-acpi-"));

  std::string path(const std::string& name) const { return dir_.path() + "/" + name; }
  void store(const std::string& name, std::span<const std::byte> bytes) const {
    ASSERT_TRUE(
        sys::write_file(path(name), {reinterpret_cast<const char*>(bytes.data()), bytes.size()})
            .has_value());
  }
  // Runs iasl in the directory; its output, with a note of failure.
  std::string iasl(const std::string& arguments) const {
    const std::string command =
        "cd " + dir_.path() + " && iasl " + arguments + " > out 2>&1 || echo FAILED >> out";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return *sys::read_file(path("out"));
  }
};

TEST_F(AcpiTools, TheDsdtSurvivesDisassemblyAndAssembly) {
  const auto devices = slots(kMaxMmioDevices);
  const auto acpi = build_acpi({.vcpus = 4, .devices = devices, .keyboard = true});
  const auto dsdt = parse(*acpi).dsdt;
  store("dsdt.aml", dsdt);

  EXPECT_THAT(iasl("-d dsdt.aml"), testing::Not(HasSubstr("FAILED")));
  const std::string source = *sys::read_file(path("dsdt.dsl"));
  const std::string built = iasl("-oa -p again dsdt.dsl");

  EXPECT_THAT(built, HasSubstr("0 Errors, 0 Warnings"));
  EXPECT_THAT(source, HasSubstr("\"LNRO0005\""));
  EXPECT_THAT(source, HasSubstr("0xD0011000"));
  EXPECT_THAT(source, HasSubstr("Notify (\\_SB.VGEN, 0x80)"));
  EXPECT_THAT(source, HasSubstr("EisaId (\"PNP0303\")"));
  const std::string again = *sys::read_file(path("again.aml"));
  ASSERT_EQ(again.size(), dsdt.size());
  EXPECT_EQ(std::memcmp(again.data() + 36, dsdt.data() + 36, dsdt.size() - 36), 0);
}

TEST_F(AcpiTools, TheFixedTablesAreUnderstoodToTheirEnd) {
  const auto acpi = build_acpi({.vcpus = 4});
  const Parsed tables = parse(*acpi);
  store("facp.aml", tables.fadt);
  store("apic.aml", tables.madt);
  store("xsdt.aml", tables.xsdt);

  for (const std::string name : {"facp", "apic", "xsdt"}) {
    const std::string out = iasl("-d " + name + ".aml");
    EXPECT_THAT(out, testing::Not(HasSubstr("FAILED"))) << out;
    EXPECT_THAT(out, testing::Not(HasSubstr("rror"))) << out;
    const std::string source = *sys::read_file(path(name + ".dsl"));
    EXPECT_THAT(source, testing::Not(HasSubstr("Unknown"))) << source;
    EXPECT_THAT(source, testing::Not(HasSubstr("Invalid"))) << source;
  }
}

}  // namespace
}  // namespace mvm::vmm
