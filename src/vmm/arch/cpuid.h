// SPDX-License-Identifier: Apache-2.0
// What a vcpu answers to CPUID: KVM's supported table made one consistent machine.
//
// The guest sees one socket of `vcpus` logical processors with APIC ids 0, 1, 2 …, two to a core if
// `smt`; caches are shared accordingly. Features that a snapshot could not carry to its next
// host, that KVM would not back, or that have no use in a microVM are off: nested virtualisation,
// SGX, MONITOR, performance counters, TSX, WAITPKG, AMX, resource control, Intel PT, LBR.
//
// The TSC's frequency comes from kvmclock, and stands in leaf 0x40000010 for guests without it;
// leaves 0x15 and 0x16 are empty because Linux would take KVM's 1 GHz APIC timer for the crystal of
// leaf 0x15.
//
// Source: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E; Linux
// Documentation/virt/kvm/x86/cpuid.rst.
// Threads: none.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"

namespace mvm::vmm {

struct CpuidConfig {
  unsigned vcpu = 0;   // this one's index, which is its APIC id
  unsigned vcpus = 1;  // of how many
  bool smt = false;
  // Of the guest's TSC (KVM_GET_TSC_KHZ); 0 when KVM does not tell. Units: kHz.
  std::uint32_t tsc_khz = 0;
  // KVM_CAP_TSC_DEADLINE_TIMER, and an in-kernel local APIC.
  bool tsc_deadline = true;
  // What host_cache_leaves() tells: KVM does not report AMD's caches.
  std::span<const kvm_cpuid_entry2> host_caches = {};
};

// The cache leaves of the processor that runs this: 0x80000005, 0x80000006 and, where it has it,
// 0x8000001d. The one function here that is not pure.
std::vector<kvm_cpuid_entry2> host_cache_leaves();

// `supported` is the answer of KVM_GET_SUPPORTED_CPUID.
// Errors: kInvalidArgument when vcpu or vcpus is out of range; kUnsupported when the table lacks
// leaf 0 or 1; kLimit when it has more entries than KVM takes.
Result<std::vector<kvm_cpuid_entry2>> guest_cpuid(std::span<const kvm_cpuid_entry2> supported,
                                                  const CpuidConfig& config);

}  // namespace mvm::vmm
