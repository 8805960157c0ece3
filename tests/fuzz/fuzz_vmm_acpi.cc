// SPDX-License-Identifier: Apache-2.0
// Sizes of a machine, some impossible: the ACPI tables are refused, or lie in their area with right
// lengths and checksums, and every block of the DSDT ends inside the block around it.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "core/codec.h"
#include "vmm/arch/acpi.h"
#include "vmm/arch/layout.h"

namespace {

using Bytes = std::span<const std::byte>;

void require(bool condition) {
  if (!condition) std::abort();
}

std::uint64_t number(Bytes bytes, std::size_t at, std::size_t size) {
  require(at + size <= bytes.size());
  std::uint64_t out = 0;
  std::memcpy(&out, bytes.data() + at, size);
  return out;
}

void check_sum(Bytes bytes) {
  unsigned sum = 0;
  for (const std::byte byte : bytes) sum += static_cast<unsigned>(byte);
  require((sum & 0xff) == 0);
}

Bytes table_at(Bytes tables, std::uint64_t gpa) {
  require(gpa >= mvm::vmm::kAcpiTablesGpa && gpa - mvm::vmm::kAcpiTablesGpa < tables.size());
  const Bytes rest = tables.subspan(gpa - mvm::vmm::kAcpiTablesGpa);
  const std::uint64_t length = number(rest, 4, 4);
  require(length >= 36 && length <= rest.size());
  check_sum(rest.first(length));
  return rest.first(length);
}

// The first term of the DSDT is the scope that holds all devices.
void check_scope(Bytes dsdt) {
  const Bytes body = dsdt.subspan(36);
  require(number(body, 0, 1) == 0x10);
  const auto lead = number(body, 1, 1);
  const std::size_t extra = lead >> 6;
  std::uint64_t length = extra == 0 ? lead : lead & 0xf;
  for (std::size_t i = 0; i < extra; ++i) length |= number(body, 2 + i, 1) << (4 + 8 * i);
  require(1 + length < body.size());
  require(number(body, 1 + length, 1) == 0x08);  // Name (\_S5_ …) follows
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mvm::ByteReader in(std::as_bytes(std::span(data, size)));
  mvm::vmm::AcpiConfig config;
  config.vcpus = in.number<std::uint16_t>();
  const auto flags = in.number<std::uint8_t>();
  config.serial = (flags & 1) != 0;
  config.keyboard = (flags & 2) != 0;
  config.vm_generation = (flags & 4) != 0;
  std::vector<mvm::vmm::MmioSlot> devices;
  while (in.ok() && !in.empty() && devices.size() < 64)
    devices.push_back(
        {in.number<std::uint32_t>(), in.number<std::uint32_t>(), in.number<std::uint32_t>()});
  config.devices = devices;
  const auto acpi = mvm::vmm::build_acpi(config);
  if (!acpi) return 0;
  require(config.vcpus >= 1 && devices.size() <= mvm::vmm::kMaxMmioDevices);
  require(acpi->tables.size() <= mvm::vmm::kAcpiTablesEnd - mvm::vmm::kAcpiTablesGpa);
  check_sum(Bytes(acpi->rsdp).first(20));
  check_sum(acpi->rsdp);
  const Bytes xsdt = table_at(acpi->tables, number(acpi->rsdp, 24, 8));
  const Bytes fadt = table_at(acpi->tables, number(xsdt, 36, 8));
  const Bytes madt = table_at(acpi->tables, number(xsdt, 44, 8));
  require(madt.size() == 44 + 8 * config.vcpus + 18);
  check_scope(table_at(acpi->tables, number(fadt, 140, 8)));
  return 0;
}
