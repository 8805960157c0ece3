// SPDX-License-Identifier: Apache-2.0
// The x86_64 guest's physical memory map and interrupt lines.
//
//   0x00000500  GDT, then an empty IDT             read by the kernel's first instructions only:
//   0x00006000  hvm_start_info, modules, memory map     all of this is free RAM to the kernel
//   0x00007000  zero page (struct boot_params)          as soon as it has its own tables
//   0x00008000  boot stack (grows down from 0x9000)
//   0x00009000  page tables: PML4, PDPT, 4 page directories
//   0x00020000  command line
//   0x0009fc00  end of low RAM ─────────────────── reserved in the memory map from here
//   0x000e0000  RSDP
//   0x000e1000  ACPI tables
//   0x000f0000  VM generation identifier
//   0x00100000  RAM: kernel … initrd ────────────── usable again from here
//   0xd0000000  end of low RAM at the latest; virtio-mmio devices, a page each
//   0xfec00000  I/O APIC          0xfee00000  local APIC
//   0xfffbc000  KVM's identity map page, then its TSS (Intel hosts)
//   0x100000000 RAM again
#pragma once

#include <cstdint>

#include "vmm/memory/guest_memory.h"

namespace mvm::vmm {

constexpr Gpa kGdtGpa = 0x500;
constexpr Gpa kIdtGpa = 0x540;
constexpr Gpa kStartInfoGpa = 0x6000;
constexpr Gpa kZeroPageGpa = 0x7000;
constexpr Gpa kBootStackGpa = 0x8ff0;  // initial stack pointer
constexpr Gpa kPageTablesGpa = 0x9000;
constexpr Gpa kCommandLineGpa = 0x2'0000;
constexpr std::uint64_t kCommandLineRoom = 0x1'0000;
constexpr Gpa kLowRamEnd = 0x9'fc00;
constexpr Gpa kRsdpGpa = 0xe'0000;
constexpr Gpa kAcpiTablesGpa = 0xe'1000;
constexpr Gpa kAcpiTablesEnd = 0xf'0000;
constexpr Gpa kVmGenIdGpa = 0xf'0000;
constexpr std::uint64_t kVmGenIdSize = 16;
constexpr Gpa kHighRamStart = 0x10'0000;

constexpr Gpa kMmioDevicesGpa = kMmioGapStart;
constexpr std::uint64_t kMmioDeviceSize = 0x1000;
constexpr Gpa kIoApicGpa = 0xfec0'0000;
constexpr Gpa kLocalApicGpa = 0xfee0'0000;
constexpr Gpa kKvmIdentityMapGpa = 0xfffb'c000;
constexpr Gpa kKvmTssGpa = 0xfffb'd000;

// Global system interrupts are pins of the one I/O APIC, all edge-triggered.
constexpr std::uint32_t kKeyboardGsi = 1;
constexpr std::uint32_t kSerialGsi = 4;
constexpr std::uint32_t kFirstMmioGsi = 5;
constexpr std::uint32_t kGedGsi = 23;  // the generic event device: a new VM generation
constexpr unsigned kMaxMmioDevices = kGedGsi - kFirstMmioGsi;

// I/O ports.
constexpr std::uint16_t kSerialPort = 0x3f8;   // 8 ports
constexpr std::uint16_t kKeyboardData = 0x60;  // i8042
constexpr std::uint16_t kKeyboardCommand = 0x64;
// The ACPI reset register is the i8042's command port: a guest that resets by ACPI and one that
// resets by keyboard controller do the same.
constexpr std::uint8_t kResetValue = 0xfe;
// A byte written here with bit 5 (SLP_EN) set powers the VM off; bits 2 to 4 are the sleep type.
constexpr std::uint16_t kSleepControlPort = 0x600;
// Reads as zero; what is written is ignored.
constexpr std::uint16_t kSleepStatusPort = 0x601;
constexpr std::uint8_t kSleepTypeS5 = 5;
constexpr std::uint8_t kSleepControlPowerOff = 0x20 | kSleepTypeS5 << 2;

}  // namespace mvm::vmm
