// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/guest_bus.h"

#include <algorithm>

#include "vmm/arch/layout.h"

namespace mvm::vmm {

MmioTransport* GuestBus::find(Gpa gpa) const {
  const std::uint64_t slot = (gpa - kMmioDevicesGpa) / kMmioDeviceSize;
  return gpa >= kMmioDevicesGpa && slot < slots_.size() ? slots_[slot] : nullptr;
}

void GuestBus::catch_up() {
  if (!noted_) return;
  // Forgotten only when made: who finds none finds all of them made.
  const std::lock_guard lock(noted_mutex_);
  while (const auto write = noted_->oldest()) {
    make(write->gpa, std::span(write->data).first(write->size));
    noted_->forget_oldest();
  }
}

void GuestBus::read(Gpa gpa, std::span<std::byte> out) {
  catch_up();
  if (MmioTransport* transport = find(gpa)) return transport->read(gpa % kMmioDeviceSize, out);
  std::ranges::fill(out, std::byte{0xff});
}

void GuestBus::write(Gpa gpa, std::span<const std::byte> in) {
  catch_up();
  make(gpa, in);
}

void GuestBus::make(Gpa gpa, std::span<const std::byte> in) {
  if (MmioTransport* transport = find(gpa)) return transport->write(gpa % kMmioDeviceSize, in);
  if (gpa == kBootTimerGpa && boot_timer_ && in.front() == kBootDone) boot_timer_();
}

}  // namespace mvm::vmm
