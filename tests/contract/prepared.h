// SPDX-License-Identifier: Apache-2.0
// Debian's kernel, the initramfs and the busybox image, prepared by the library code in a cache:
// that of the build, or $MVM_TEST_CACHE.
#pragma once

#include "core/result.h"
#include "kernel/initramfs.h"
#include "spec/vm_spec.h"

namespace mvm::contract {

// Where mvm's own programs are: $MVM_TEST_PROGRAMS, or the build's.
std::string program(const std::string& name);

// A machine of this backend but for its engine.
Result<spec::VmSpec> prepare(const std::string& backend, kernel::AgentChannel channel);

}  // namespace mvm::contract
