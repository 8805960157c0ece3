// SPDX-License-Identifier: Apache-2.0
// VmSpec → QEMU command line. Pure.
//
// Source: qemu-system-x86_64(1) 7.2, docs/system/i386/microvm.rst.
#pragma once

#include <string>

#include "backend/backend.h"

namespace mvm::backend::qemu {

// The guest's addresses behind QEMU's user-mode network (slirp defaults).
constexpr const char* kGuestAddress = "10.0.2.15";
constexpr const char* kGatewayAddress = "10.0.2.2";
constexpr const char* kDnsAddress = "10.0.2.3";

Result<LaunchPlan> plan(const spec::VmSpec& vm);

// The kernel command line alone, for `inspect` and for benchmarks.
std::string kernel_cmdline(const spec::VmSpec& vm);

}  // namespace mvm::backend::qemu
