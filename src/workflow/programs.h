// SPDX-License-Identifier: Apache-2.0
// Where mvm's own helper programs are: beside the running mvmctl, in ../libexec/mvm.
#pragma once

#include <string>

#include "core/result.h"

namespace mvm::workflow {

struct Programs {
  std::string directory;
  std::string supervisor;
  std::string agent;
  std::string netd;
  std::string vmm;
  std::string jailer;
  std::string build;
  std::string docker;          // may be missing: only the docker backend needs it
  std::string nix_library;     // directory of mvm's flake
  std::string kernel_configs;  // ARCH.config: what `kernel build` sets
};

// Errors: kNotFound naming the missing program: the installation is incomplete.
Result<Programs> find_programs();

}  // namespace mvm::workflow
