// SPDX-License-Identifier: Apache-2.0
#include "engine.h"
#include "platform/tsc.h"
#include "prepared.h"
#include "sys/process.h"

namespace mvm::contract {

Engine engine() { return {"qemu", Millis(90'000)}; }

Result<spec::VmSpec> bootable() {
  spec::VmSpec vm = MVM_TRY(prepare("qemu", kernel::AgentChannel::kVirtioSerial));
  vm.accelerator = "tcg";
  const auto qemu = sys::find_program("qemu-system-x86_64");
  if (!qemu) return Error(Errc::kUnavailable, "qemu-system-x86_64 is not installed");
  vm.engine_program = *qemu;
  vm.tsc_khz = platform::tsc_khz_cached(MVM_BUILD_DIR "/test-cache/cache");
  return vm;
}

}  // namespace mvm::contract
