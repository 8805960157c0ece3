// SPDX-License-Identifier: Apache-2.0
// The system call filters of vmm/jail/policy.h, compiled while this program was built: the library
// takes about a millisecond for one, which is more than all else that happens before the API's
// socket is there.
//
// They are what SeccompFilter::compile(role, kKill) gives; a test compares them.
#pragma once

#include "vmm/jail/seccomp.h"

namespace mvm::vmm {

// The filter of this role. Rules about the own process hold for the caller's.
SeccompFilter builtin_filter(ThreadRole role);

}  // namespace mvm::vmm
