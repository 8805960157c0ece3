// SPDX-License-Identifier: Apache-2.0
// The engine that a build of the contract suite is about; one file per backend defines it.
#pragma once

#include <string>

#include "backend/backend.h"
#include "core/result.h"
#include "spec/vm_spec.h"

namespace mvm::contract {

struct Engine {
  std::string backend;
  Millis boot_deadline{20'000};
  bool dies_of_kill = true;  // by SIGKILL at once; otherwise it clears up first
};

Engine engine();
// A machine that boots. Errors: what keeps the suite from running here.
Result<spec::VmSpec> bootable();

}  // namespace mvm::contract
