// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/interrupt_line.h"

#include <sys/eventfd.h>

namespace mvm::vmm {

Result<InterruptLine> InterruptLine::create(const KvmVm& vm, std::uint32_t gsi) {
  sys::UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return Error::from_errno("eventfd of interrupt " + std::to_string(gsi));
  MVM_TRY(vm.bind_interrupt(event.get(), gsi));
  return InterruptLine(std::move(event));
}

void InterruptLine::raise() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(event_.get(), &one, sizeof one);
}

}  // namespace mvm::vmm
