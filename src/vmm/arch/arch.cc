// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/arch.h"

#include <cstdio>

#include "vmm/arch/acpi.h"
#include "vmm/arch/boot_params.h"
#include "vmm/arch/layout.h"

namespace mvm::vmm {

Result<MmioSlot> mmio_slot(unsigned index) {
  if (index >= kMaxMmioDevices)
    return Error(Errc::kLimit, "virtio device " + std::to_string(index + 1) + ", at most " +
                                   std::to_string(kMaxMmioDevices) + " are possible");
  return MmioSlot{kMmioDevicesGpa + index * kMmioDeviceSize, kMmioDeviceSize,
                  kFirstMmioGsi + index};
}

std::string mmio_parameter(const MmioSlot& slot) {
  char gpa[24];
  std::snprintf(gpa, sizeof gpa, "0x%llx", static_cast<unsigned long long>(slot.gpa));
  return "virtio_mmio.device=" + std::to_string(slot.size / 1024) + "K@" + gpa + ":" +
         std::to_string(slot.gsi);
}

Result<> write_boot_data(const GuestMemory& memory, const LoadedKernel& kernel,
                         const BootPlan& plan) {
  MVM_TRY(write_command_line(memory, kernel, plan.command_line));
  const AcpiConfig acpi = {plan.vcpus, plan.devices, plan.serial, plan.keyboard,
                           plan.vm_generation};
  const Gpa rsdp = MVM_TRY(write_acpi(memory, acpi));
  return write_boot_parameters(memory, kernel, rsdp);
}

}  // namespace mvm::vmm
