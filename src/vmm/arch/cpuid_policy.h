// SPDX-License-Identifier: Apache-2.0
// Which of the host's CPUID features a guest does not get, as data. A bit that is not named here
// stays as KVM reports it.
//
// Source: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

namespace mvm::vmm {

enum class CpuidRegister { kEax, kEbx, kEcx, kEdx };

struct CpuidMask {
  std::uint32_t leaf;
  std::uint32_t index;
  CpuidRegister which;
  std::uint32_t keep;
};

constexpr std::uint32_t without(std::initializer_list<unsigned> bits) {
  std::uint32_t out = ~0U;
  for (const unsigned bit : bits) out &= ~(1U << bit);
  return out;
}

constexpr std::array kCpuidMasks = {
    // DTES64, MONITOR, DS-CPL, VMX, SMX, EST, TM2, PDCM, DCA; OSXSAVE follows the guest's CR4.
    CpuidMask{0x1, 0, CpuidRegister::kEcx, without({2, 3, 4, 5, 6, 7, 8, 15, 18, 27})},
    // DS, ACPI thermal, TM, PBE.
    CpuidMask{0x1, 0, CpuidRegister::kEdx, without({21, 22, 29, 31})},
    // Only ARAT: the APIC timer never stops.
    CpuidMask{0x6, 0, CpuidRegister::kEax, 1U << 2},
    CpuidMask{0x6, 0, CpuidRegister::kEbx, 0},
    CpuidMask{0x6, 0, CpuidRegister::kEcx, 0},
    CpuidMask{0x6, 0, CpuidRegister::kEdx, 0},
    // SGX, HLE, RTM, RDT monitoring, MPX, RDT allocation, Intel PT.
    CpuidMask{0x7, 0, CpuidRegister::kEbx, without({2, 4, 11, 12, 14, 15, 25})},
    // WAITPKG, TME, ENQCMD, SGX launch control.
    CpuidMask{0x7, 0, CpuidRegister::kEcx, without({5, 13, 29, 30})},
    // UINTR, hybrid, PCONFIG, LBR, AMX-BF16, AMX-TILE, AMX-INT8.
    CpuidMask{0x7, 0, CpuidRegister::kEdx, without({5, 15, 18, 19, 22, 24, 25})},
    // AMX-FP16, HRESET.
    CpuidMask{0x7, 1, CpuidRegister::kEax, without({21, 22})},
    // AMX-COMPLEX, UIRET.
    CpuidMask{0x7, 1, CpuidRegister::kEdx, without({8, 17})},
    // Saved states of MPX and AMX; those of supervisor mode: PT, PASID, HDC, UINTR, LBR, HWP.
    CpuidMask{0xd, 0, CpuidRegister::kEax, without({3, 4, 17, 18})},
    CpuidMask{0xd, 1, CpuidRegister::kEax, without({4})},
    CpuidMask{0xd, 1, CpuidRegister::kEcx, without({8, 10, 13, 14, 15, 16})},
    // SVM, IBS, SKINIT, watchdog, LWP, node id, performance counters, MONITORX.
    CpuidMask{0x8000'0001, 0, CpuidRegister::kEcx,
              without({2, 10, 12, 13, 15, 19, 23, 24, 27, 28, 29})},
    // Only the invariant TSC.
    CpuidMask{0x8000'0007, 0, CpuidRegister::kEax, 0},
    CpuidMask{0x8000'0007, 0, CpuidRegister::kEbx, 0},
    CpuidMask{0x8000'0007, 0, CpuidRegister::kEcx, 0},
    CpuidMask{0x8000'0007, 0, CpuidRegister::kEdx, 1U << 8},
};

// Leaves that read as zero.
constexpr std::array<std::uint32_t, 27> kEmptyLeaves = {
    0x3,          // serial number
    0x5,          // MONITOR
    0x9,          // direct cache access
    0xa,          // performance monitoring
    0xf,          // resource monitoring
    0x10,         // resource allocation
    0x12,         // SGX
    0x14,         // Intel PT
    0x15,         // crystal: see cpuid.h
    0x16,         // frequencies
    0x17,         // vendor of a system on chip
    0x18,         // address translation parameters
    0x19,         // key locker
    0x1a,         // kind of core
    0x1b,         // PCONFIG
    0x1c,         // LBR
    0x1d,         // AMX tiles
    0x1e,         // AMX multiplication
    0x20,         // HRESET
    0x23,         // performance monitoring, continued
    0x8000'000a,  // SVM
    0x8000'001b,  // IBS
    0x8000'001c,  // LWP
    0x8000'001f,  // memory encryption
    0x8000'0020,  // resource control
    0x8000'0022,  // performance monitoring
    0x8000'0026,  // topology once more: leaf 0xb has it
};

// KVM's paravirtual features (leaf 0x40000001, EAX) that need nothing from us: kvmclock in both
// forms and its stable bit, no delay for I/O, async page faults, steal time, end of interrupt, poll
// control, and those of kKvmSmpFeatures.
constexpr std::uint32_t kKvmFeatures = ~without({0, 1, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 24});
// Unhalt, TLB flush, IPIs, yield: of no use to a single vcpu, which spins less without.
constexpr std::uint32_t kKvmSmpFeatures = ~without({7, 9, 11, 13});

}  // namespace mvm::vmm
