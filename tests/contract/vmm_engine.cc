// SPDX-License-Identifier: Apache-2.0
// Needs a KVM that runs stock kernels: the lab's, or the host's.
#include <unistd.h>

#include "engine.h"
#include "prepared.h"

namespace mvm::contract {

Engine engine() { return {"mvm-vmm", Millis(90'000)}; }

Result<spec::VmSpec> bootable() {
  spec::VmSpec vm = MVM_TRY(prepare("mvm-vmm", kernel::AgentChannel::kVsock));
  vm.accelerator = "kvm";
  vm.engine_program = program("mvm-vmm");
  vm.network_program = program("mvm-netd");
  if (::geteuid() == 0) vm.jail_user = 0x7000'0000;
  return vm;
}

}  // namespace mvm::contract
