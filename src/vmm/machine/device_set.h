// SPDX-License-Identifier: Apache-2.0
// The virtio devices of a machine, made from its configuration, each in its slot of the bus.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "vmm/arch/arch.h"
#include "vmm/config/vm_config.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/guest_bus.h"
#include "vmm/machine/interrupt_line.h"
#include "vmm/mmds/mmds.h"
#include "vmm/virtio/io_thread.h"
#include "vmm/virtio/mmio_transport.h"

namespace mvm::vmm {

class DeviceSet {
 public:
  // Makes the devices in the order drives, interfaces, vsock, entropy, balloon, so that a
  // configuration gives the same slots each time.
  // Errors: kLimit for more devices than slots; those of files and sockets, naming the device.
  Result<> create(const VmConfig& config, const KvmVm& vm, const GuestMemory& memory, IoThread& io,
                  GuestBus& bus, const std::shared_ptr<Mmds>& metadata);

  const std::vector<MmioSlot>& slots() const { return slots_; }
  const std::vector<std::unique_ptr<MmioTransport>>& transports() const { return transports_; }
  // By name: "drive/ID", "net/ID", "vsock", "balloon", "entropy". Null when there is none.
  MmioTransport* find(std::string_view name) const;

  void pause();
  void resume();

 private:
  Result<> add(std::string name, std::unique_ptr<VirtioDevice> device);
  Result<> add_drive(const DriveConfig& drive);
  Result<> add_network(const NetworkConfig& network, const std::optional<MmdsConfig>& mmds,
                       const std::shared_ptr<Mmds>& metadata);
  Result<> add_balloon(const BalloonConfig& balloon);

  const KvmVm* vm_ = nullptr;
  const GuestMemory* memory_ = nullptr;
  IoThread* io_ = nullptr;
  GuestBus* bus_ = nullptr;
  std::vector<MmioSlot> slots_;
  std::vector<std::unique_ptr<InterruptLine>> lines_;
  std::vector<std::unique_ptr<MmioTransport>> transports_;
};

}  // namespace mvm::vmm
