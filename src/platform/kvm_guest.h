// SPDX-License-Identifier: Apache-2.0
// The guest that the KVM probe runs. Called in a forked child: no locks, no heap that outlives it.
#pragma once

#include <array>

namespace mvm::platform {

enum class ProbeOutcome { kPassed, kSetupFailed, kInstructionFailed, kSlow, kHung };

// Plain bytes: it crosses a pipe.
struct ProbeReport {
  ProbeOutcome outcome = ProbeOutcome::kSetupFailed;
  int api_version = 0;
  int errnum = 0;
  int exit_reason = 0;
  long nanoseconds = 0;         // per guest instruction, when kSlow
  std::array<char, 64> text{};  // the stage or the system call concerned
};

ProbeReport run_probe_guest(int kvm_device);

}  // namespace mvm::platform
