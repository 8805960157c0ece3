// SPDX-License-Identifier: Apache-2.0
#include "engine.h"

namespace mvm::contract {

Engine engine() { return {"fake", Millis(20'000)}; }

Result<spec::VmSpec> bootable() {
  spec::VmSpec vm;
  vm.name = vm.hostname = "contract";
  vm.backend = "fake";
  vm.engine_program = MVM_AGENT;
  return vm;
}

}  // namespace mvm::contract
