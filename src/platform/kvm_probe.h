// SPDX-License-Identifier: Apache-2.0
// Finds out whether KVM works by running guest code, not by the existence of /dev/kvm.
//
// Some hosts offer a KVM without hardware virtualisation below it (PVM and the like): it opens,
// makes VMs, and then interprets stock kernels instruction by instruction until one is met that its
// emulator does not know. Measured on such a host: plain integer code runs at 1.2 us per
// instruction, and cmpxchg16b, xgetbv, xsave, xrstor, aesenc and popcnt each end in
// KVM_EXIT_INTERNAL_ERROR. The probe runs a few of these in 64-bit mode and then a timed loop. On
// hardware every stage passes in microseconds; without, the first one fails in about 3 ms.
#pragma once

#include <string>

#include "platform/host_facts.h"

namespace mvm::platform {

// Runs the probe in a child process, so that neither a crash nor a hang of KVM reaches the caller.
// Time: below 5 ms as a rule; a guest that hangs is given up after 250 ms (once a boot, the answer
// is remembered).
KvmFacts probe_kvm(const std::string& device = "/dev/kvm");

// The same, remembered in `cache_dir` for this boot, device and processor. Permission and absence
// are looked at every time.
KvmFacts probe_kvm_cached(const std::string& cache_dir, const std::string& device = "/dev/kvm");

}  // namespace mvm::platform
