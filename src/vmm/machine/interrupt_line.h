// SPDX-License-Identifier: Apache-2.0
// An interrupt line of the guest: raising it is one write to an event descriptor.
#pragma once

#include <cstdint>

#include "core/result.h"
#include "sys/unique_fd.h"
#include "vmm/kvm/kvm.h"

namespace mvm::vmm {

class InterruptLine {
 public:
  // Errors: those of eventfd and KVM_IRQFD.
  static Result<InterruptLine> create(const KvmVm& vm, std::uint32_t gsi);
  // An edge. Threads: any.
  void raise() const;

 private:
  explicit InterruptLine(sys::UniqueFd event) : event_(std::move(event)) {}
  sys::UniqueFd event_;
};

}  // namespace mvm::vmm
