// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/acpi.h"

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "vmm/arch/aml.h"
#include "vmm/arch/layout.h"

namespace mvm::vmm {
namespace {

using Table = std::vector<std::byte>;

constexpr std::string_view kOemId = "MVMVMM";
constexpr std::string_view kOemTableId = "MVMTABLE";
constexpr std::string_view kCreatorId = "MVM ";

void put(Table& out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i)
    out.push_back(static_cast<std::byte>(value >> (8 * i) & 0xff));
}

void set(Table& table, std::size_t at, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i)
    table[at + i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
}

void put_text(Table& out, std::string_view text) {
  for (const char letter : text) out.push_back(static_cast<std::byte>(letter));
}

// What makes the sum of all bytes zero.
std::byte checksum(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const std::byte byte : bytes) sum += static_cast<unsigned>(byte);
  return static_cast<std::byte>(0x100 - (sum & 0xff));
}

// A table with its header; `finish` sets length and checksum.
Table start_table(std::string_view signature, std::uint8_t revision) {
  Table out;
  put_text(out, signature);
  put(out, 0, 4);
  put(out, revision, 1);
  put(out, 0, 1);
  put_text(out, kOemId);
  put_text(out, kOemTableId);
  put(out, 1, 4);
  put_text(out, kCreatorId);
  put(out, 1, 4);
  return out;
}

Table finish(Table table) {
  set(table, 4, table.size(), 4);
  table[9] = checksum(table);
  return table;
}

// ---- DSDT

aml::Term virtio_device(unsigned index, const MmioSlot& slot) {
  const std::array<char, 4> segment = {'V', static_cast<char>('0' + index / 100 % 10),
                                       static_cast<char>('0' + index / 10 % 10),
                                       static_cast<char>('0' + index % 10)};
  return aml::device(
      std::string_view(segment.data(), segment.size()),
      {aml::name("_HID", aml::string("LNRO0005")), aml::name("_UID", aml::integer(index)),
       aml::name("_CCA", aml::integer(1)),
       aml::name("_CRS", aml::resources({
                             aml::memory32_fixed(static_cast<std::uint32_t>(slot.gpa),
                                                 static_cast<std::uint32_t>(slot.size)),
                             aml::interrupt(slot.gsi),
                         }))});
}

aml::Term serial_device() {
  return aml::device(
      "COM1", {aml::name("_HID", aml::eisa_id("PNP0501")), aml::name("_UID", aml::integer(0)),
               aml::name("_DDN", aml::string("COM1")),
               aml::name("_CRS", aml::resources({aml::io_ports(kSerialPort, 8),
                                                 aml::interrupt(kSerialGsi)}))});
}

aml::Term keyboard_device() {
  return aml::device(
      "PS2_", {aml::name("_HID", aml::eisa_id("PNP0303")), aml::name("_UID", aml::integer(0)),
               aml::name("_CRS", aml::resources({aml::io_ports(kKeyboardData, 1),
                                                 aml::io_ports(kKeyboardCommand, 1),
                                                 aml::interrupt(kKeyboardGsi)}))});
}

// The identifier's place in memory, and the event that says it has changed. Linux knows the device
// by either compatible id.
aml::Term generation_devices() {
  constexpr std::uint64_t kChanged = 0x80;
  return aml::join({
      aml::device("VGEN", {aml::name("_HID", aml::string("MVMM0001")),
                           aml::name("_CID", aml::package({aml::string("VM_Gen_Counter"),
                                                           aml::string("VMGENCTR")})),
                           aml::name("_DDN", aml::string("VM_Gen_Counter")),
                           aml::name("ADDR", aml::package({aml::integer(kVmGenIdGpa & UINT32_MAX),
                                                           aml::integer(kVmGenIdGpa >> 32)}))}),
      aml::device(
          "GED_",
          {aml::name("_HID", aml::string("ACPI0013")), aml::name("_UID", aml::integer(0)),
           aml::name("_CRS", aml::resources({aml::interrupt(kGedGsi)})),
           aml::method("_EVT", 1,
                       {aml::if_arg0_equals(kGedGsi, {aml::notify("\\_SB_.VGEN", kChanged)})})}),
  });
}

Table build_dsdt(const AcpiConfig& config) {
  aml::Term devices;
  const auto add = [&devices](const aml::Term& term) {
    devices.insert(devices.end(), term.begin(), term.end());
  };
  if (config.serial) add(serial_device());
  if (config.keyboard) add(keyboard_device());
  if (config.vm_generation) add(generation_devices());
  for (unsigned i = 0; i < config.devices.size(); ++i) add(virtio_device(i, config.devices[i]));
  Table out = start_table("DSDT", 2);
  const aml::Term body = aml::join({
      aml::scope("\\_SB_", {devices}),
      aml::name("\\_S5_", aml::package({aml::integer(kSleepTypeS5), aml::integer(0),
                                        aml::integer(0), aml::integer(0)})),
  });
  out.insert(out.end(), body.begin(), body.end());
  return finish(std::move(out));
}

// ---- fixed tables

// A generic address structure for one byte-wide I/O port.
void set_port(Table& table, std::size_t at, std::uint16_t port) {
  set(table, at, 1, 1);      // system I/O
  set(table, at + 1, 8, 1);  // bits
  set(table, at + 3, 1, 1);  // byte access
  set(table, at + 4, port, 8);
}

// Source: ACPI 6.5, table 5.9, whose offsets these are.
Table build_fadt(const AcpiConfig& config, Gpa dsdt) {
  constexpr std::size_t kSize = 276;
  constexpr std::uint64_t k8042 = 1 << 1;
  constexpr std::uint64_t kNoVga = 1 << 2;
  constexpr std::uint64_t kNoMsi = 1 << 3;
  constexpr std::uint64_t kNoRtc = 1 << 5;
  constexpr std::uint64_t kWbinvd = 1 << 0;
  constexpr std::uint64_t kNoFixedPowerButton = 1 << 4;
  constexpr std::uint64_t kNoFixedSleepButton = 1 << 5;
  constexpr std::uint64_t kResetRegister = 1 << 10;
  constexpr std::uint64_t kHardwareReduced = 1 << 20;
  Table out = start_table("FACP", 6);
  out.resize(kSize);
  set(out, 40, dsdt, 4);
  set(out, 109, kNoVga | kNoMsi | kNoRtc | (config.keyboard ? k8042 : 0), 2);
  set(out, 112,
      kWbinvd | kNoFixedPowerButton | kNoFixedSleepButton | kResetRegister | kHardwareReduced, 4);
  set_port(out, 116, kKeyboardCommand);
  set(out, 128, kResetValue, 1);
  set(out, 131, 5, 1);  // minor version
  set(out, 140, dsdt, 8);
  set_port(out, 244, kSleepControlPort);
  set_port(out, 256, kSleepStatusPort);
  return finish(std::move(out));
}

Table build_madt(const AcpiConfig& config) {
  Table out = start_table("APIC", 6);
  put(out, kLocalApicGpa, 4);
  put(out, 0, 4);  // no 8259
  for (unsigned i = 0; i < config.vcpus; ++i) {
    put(out, 0x0800, 2);  // local APIC, 8 bytes
    put(out, i, 1);       // processor uid
    put(out, i, 1);       // APIC id
    put(out, 1, 4);       // enabled
  }
  put(out, 0x0c01, 2);  // I/O APIC, 12 bytes
  put(out, 0, 2);       // id
  put(out, kIoApicGpa, 4);
  put(out, 0, 4);       // first GSI
  put(out, 0x0604, 2);  // local APIC NMI, 6 bytes
  put(out, 0xff, 1);    // of all processors
  put(out, 0, 2);
  put(out, 1, 1);  // LINT1
  return finish(std::move(out));
}

Table build_xsdt(Gpa fadt, Gpa madt) {
  Table out = start_table("XSDT", 1);
  put(out, fadt, 8);
  put(out, madt, 8);
  return finish(std::move(out));
}

Table build_rsdp(Gpa xsdt) {
  constexpr std::size_t kVersion1Size = 20;
  constexpr std::size_t kSize = 36;
  Table out;
  put_text(out, "RSD PTR ");
  put(out, 0, 1);
  put_text(out, kOemId);
  put(out, 2, 1);  // revision
  put(out, 0, 4);  // no RSDT
  put(out, kSize, 4);
  put(out, xsdt, 8);
  put(out, 0, 4);
  out[8] = checksum(std::span(out).first(kVersion1Size));
  out[32] = checksum(out);
  return out;
}

// Appends a table; returns where it will be in memory.
Gpa place(Table& tables, const Table& table) {
  constexpr std::size_t kAlignment = 16;
  tables.resize((tables.size() + kAlignment - 1) & ~(kAlignment - 1));
  const Gpa gpa = kAcpiTablesGpa + tables.size();
  tables.insert(tables.end(), table.begin(), table.end());
  return gpa;
}

}  // namespace

Result<AcpiTables> build_acpi(const AcpiConfig& config) {
  if (config.vcpus == 0) return Error(Errc::kInvalidArgument, "machine without a vcpu");
  if (config.vcpus > kArchMaxVcpus)
    return Error(Errc::kLimit, std::to_string(config.vcpus) + " vcpus, at most " +
                                   std::to_string(kArchMaxVcpus) + " are possible");
  if (config.devices.size() > kMaxMmioDevices)
    return Error(Errc::kLimit, std::to_string(config.devices.size()) + " devices, at most " +
                                   std::to_string(kMaxMmioDevices) + " are possible");
  AcpiTables out;
  const Gpa dsdt = place(out.tables, build_dsdt(config));
  const Gpa fadt = place(out.tables, build_fadt(config, dsdt));
  const Gpa madt = place(out.tables, build_madt(config));
  const Gpa xsdt = place(out.tables, build_xsdt(fadt, madt));
  out.rsdp = build_rsdp(xsdt);
  if (out.tables.size() > kAcpiTablesEnd - kAcpiTablesGpa)
    return Error(Errc::kLimit, "ACPI tables do not fit into the area reserved for them");
  return out;
}

Result<Gpa> write_acpi(const GuestMemory& memory, const AcpiConfig& config) {
  const AcpiTables acpi = MVM_TRY(build_acpi(config));
  if (!memory.write(kAcpiTablesGpa, acpi.tables) || !memory.write(kRsdpGpa, acpi.rsdp))
    return Error(Errc::kInvalidArgument, "memory has no room for the ACPI tables");
  return kRsdpGpa;
}

}  // namespace mvm::vmm
