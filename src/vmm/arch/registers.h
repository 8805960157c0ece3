// SPDX-License-Identifier: Apache-2.0
// The state in which the first vcpu enters the kernel. Pure: the ioctls are the caller's.
//
// On KVM: write_boot_structures once; then per vcpu
//   KVM_SET_MSRS(boot_msrs()), KVM_SET_FPU(boot_fpu()), KVM_GET_LAPIC → set_boot_lapic → SET,
// and for vcpu 0 only (the others wait for INIT and SIPI)
//   KVM_SET_REGS(boot_regs()), KVM_GET_SREGS → set_boot_sregs → SET.
//
// Source: Linux Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"; Xen
// docs/misc/pvh.pandoc; Intel SDM volume 3, chapters 3, 4 and 11.
// Threads: none.
#pragma once

#include <linux/kvm.h>

#include <vector>

#include "core/result.h"
#include "vmm/loader/loader.h"
#include "vmm/memory/guest_memory.h"

namespace mvm::vmm {

// Writes the GDT, an empty IDT and, for the 64-bit protocol, page tables that map 0 to 4 GiB to
// itself. Errors: kInvalidArgument when the memory has no room for them.
Result<> write_boot_structures(const GuestMemory& memory, BootProtocol protocol);

kvm_regs boot_regs(const LoadedKernel& kernel);

// Changes what KVM_GET_SREGS has told; the APIC base and the rest stay.
void set_boot_sregs(kvm_sregs& sregs, BootProtocol protocol);

kvm_fpu boot_fpu();

// Fast strings on, write-back as default memory type, TSC at zero (written to all vcpus within a
// second, KVM keeps them in step).
std::vector<kvm_msr_entry> boot_msrs();

// LINT0 takes the 8259's interrupts, LINT1 is NMI.
void set_boot_lapic(kvm_lapic_state& lapic);

}  // namespace mvm::vmm
