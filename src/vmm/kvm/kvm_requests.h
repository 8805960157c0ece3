// SPDX-License-Identifier: Apache-2.0
// Request numbers of ioctls whose argument ends in a list.
//
// The kernel's macros take the size of the C structure. Its list of unknown length is declared in a
// way that adds four bytes to the structure in C++, so the macros give wrong numbers here, and
// sizeof and the offset of the list are wrong too. Use these instead, and WithEntries.
//
// Source: <linux/kvm.h>, <linux/stddef.h> (__DECLARE_FLEX_ARRAY).
#pragma once

#include <linux/kvm.h>

#include <array>
#include <cstdint>

namespace mvm::vmm {

// nent or nmsrs, then padding; the entries follow.
struct KvmListHeader {
  std::uint32_t count = 0;
  std::uint32_t padding = 0;
};
// Without extended features. Units: 32-bit words.
using KvmXsaveArea = std::array<std::uint32_t, 1024>;

constexpr unsigned long kKvmGetSupportedCpuid = _IOWR(KVMIO, 0x05, KvmListHeader);
constexpr unsigned long kKvmSetCpuid2 = _IOW(KVMIO, 0x90, KvmListHeader);
constexpr unsigned long kKvmGetCpuid2 = _IOWR(KVMIO, 0x91, KvmListHeader);
constexpr unsigned long kKvmGetMsrs = _IOWR(KVMIO, 0x88, KvmListHeader);
constexpr unsigned long kKvmSetMsrs = _IOW(KVMIO, 0x89, KvmListHeader);
constexpr unsigned long kKvmGetMsrIndexList = _IOWR(KVMIO, 0x02, std::uint32_t);
constexpr unsigned long kKvmGetXsave = _IOR(KVMIO, 0xa4, KvmXsaveArea);
constexpr unsigned long kKvmSetXsave = _IOW(KVMIO, 0xa5, KvmXsaveArea);
constexpr unsigned long kKvmGetXsave2 = _IOR(KVMIO, 0xcf, KvmXsaveArea);

}  // namespace mvm::vmm
