// SPDX-License-Identifier: Apache-2.0
// With the daemon that DOCKER_HOST names, see tests/with_docker.
#include "engine.h"
#include "prepared.h"

namespace mvm::contract {

Engine engine() { return {.backend = "docker", .dies_of_kill = false}; }

Result<spec::VmSpec> bootable() {
  spec::VmSpec vm = MVM_TRY(prepare("docker", kernel::AgentChannel::kVsock));
  vm.engine_program = program("mvm-docker");
  return vm;
}

}  // namespace mvm::contract
