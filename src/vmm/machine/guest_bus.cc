// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/guest_bus.h"

#include <algorithm>

#include "vmm/arch/layout.h"

namespace mvm::vmm {

MmioTransport* GuestBus::find(Gpa gpa) const {
  const std::uint64_t slot = (gpa - kMmioDevicesGpa) / kMmioDeviceSize;
  return gpa >= kMmioDevicesGpa && slot < slots_.size() ? slots_[slot] : nullptr;
}

void GuestBus::read(Gpa gpa, std::span<std::byte> out) {
  if (MmioTransport* transport = find(gpa)) return transport->read(gpa % kMmioDeviceSize, out);
  std::ranges::fill(out, std::byte{0xff});
}

void GuestBus::write(Gpa gpa, std::span<const std::byte> in) {
  if (MmioTransport* transport = find(gpa)) return transport->write(gpa % kMmioDeviceSize, in);
  if (gpa == kBootTimerGpa && boot_timer_ && in.front() == kBootDone) boot_timer_();
}

}  // namespace mvm::vmm
