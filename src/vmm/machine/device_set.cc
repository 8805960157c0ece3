// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/device_set.h"

#include <algorithm>

#include "vmm/balloon/balloon_device.h"
#include "vmm/block/block_device.h"
#include "vmm/entropy/entropy_device.h"
#include "vmm/machine/limits.h"
#include "vmm/net/net_device.h"
#include "vmm/net/stream_backend.h"
#include "vmm/net/tap_backend.h"
#include "vmm/vsock/vsock_device.h"

namespace mvm::vmm {
namespace {

Result<std::unique_ptr<NetBackend>> open_backend(const NetworkConfig& network) {
  if (network.socket_fd)
    return std::unique_ptr<NetBackend>(
        MVM_TRY(StreamBackend::adopt(sys::UniqueFd(*network.socket_fd))));
  if (network.socket_path)
    return std::unique_ptr<NetBackend>(MVM_TRY(StreamBackend::connect(*network.socket_path)));
  return std::unique_ptr<NetBackend>(MVM_TRY(TapBackend::open(*network.host_dev_name)));
}

}  // namespace

Result<> DeviceSet::create(const VmConfig& config, const KvmVm& vm, const GuestMemory& memory,
                           IoThread& io, GuestBus& bus, const std::shared_ptr<Mmds>& metadata) {
  vm_ = &vm;
  memory_ = &memory;
  io_ = &io;
  bus_ = &bus;
  for (const DriveConfig& drive : config.drives)
    MVM_TRY_CTX(add_drive(drive), "drive " + drive.drive_id);
  for (const NetworkConfig& network : config.network_interfaces)
    MVM_TRY_CTX(add_network(network, config.mmds, metadata),
                "network interface " + network.iface_id);
  if (config.vsock)
    MVM_TRY_CTX(
        add("vsock", MVM_TRY(VsockDevice::create(config.vsock->guest_cid, config.vsock->uds_path))),
        "vsock");
  if (config.entropy) {
    const RateLimits limits =
        config.entropy->rate_limiter ? limits_of(*config.entropy->rate_limiter) : RateLimits{};
    MVM_TRY_CTX(add("entropy", std::make_unique<EntropyDevice>(limits)), "entropy");
  }
  if (config.balloon) MVM_TRY_CTX(add_balloon(*config.balloon), "balloon");
  return {};
}

Result<> DeviceSet::add_balloon(const BalloonConfig& balloon) {
  BalloonOptions options;
  options.target_mib = balloon.amount_mib;
  options.deflate_on_oom = balloon.deflate_on_oom;
  options.stats_interval_s = balloon.stats_polling_interval_s;
  options.free_page_reporting = balloon.free_page_reporting;
  return add("balloon", MVM_TRY(BalloonDevice::create(options)));
}

Result<> DeviceSet::add_drive(const DriveConfig& drive) {
  BlockOptions options;
  options.id = drive.drive_id;
  options.path = drive.path_on_host;
  options.read_only = drive.is_read_only;
  options.cache =
      drive.cache_type == CacheType::kWriteback ? BlockCache::kWriteback : BlockCache::kUnsafe;
  options.engine = drive.io_engine == IoEngine::kAsync ? EngineKind::kAsync : EngineKind::kSync;
  if (drive.rate_limiter) options.limits = limits_of(*drive.rate_limiter);
  return add("drive/" + drive.drive_id, MVM_TRY(BlockDevice::create(std::move(options))));
}

Result<> DeviceSet::add_network(const NetworkConfig& network, const std::optional<MmdsConfig>& mmds,
                                const std::shared_ptr<Mmds>& metadata) {
  NetSettings settings;
  if (network.guest_mac) settings.mac = network.guest_mac->bytes;
  settings.mtu = network.mtu;
  if (network.rx_rate_limiter) settings.rx = limits_of(*network.rx_rate_limiter);
  if (network.tx_rate_limiter) settings.tx = limits_of(*network.tx_rate_limiter);
  std::unique_ptr<MmdsStack> stack;
  if (mmds && std::ranges::count(mmds->network_interfaces, network.iface_id) > 0) {
    MmdsStackSettings service;
    service.address = mmds->address().bytes;
    stack = std::make_unique<MmdsStack>(metadata, service);
  }
  return add("net/" + network.iface_id, std::make_unique<NetDevice>(MVM_TRY(open_backend(network)),
                                                                    settings, std::move(stack)));
}

Result<> DeviceSet::add(std::string name, std::unique_ptr<VirtioDevice> device) {
  const MmioSlot slot = MVM_TRY(mmio_slot(static_cast<unsigned>(slots_.size())));
  auto line = std::make_unique<InterruptLine>(MVM_TRY(InterruptLine::create(*vm_, slot.gsi)));
  auto transport = MVM_TRY(MmioTransport::create(
      std::move(name), std::move(device), *memory_, *io_,
      {[line = line.get()] { line->raise(); }, [bus = bus_] { bus->catch_up(); }}));
  const std::vector<int> events = transport->notify_fds();
  for (std::size_t i = 0; i < events.size(); ++i)
    MVM_TRY(vm_->bind_notify(events[i], slot.gpa + MmioTransport::kQueueNotify,
                             static_cast<std::uint32_t>(i)));
  // The guest acknowledges each interrupt, and need not wait until that is seen.
  MVM_TRY(vm_->note_writes(slot.gpa + MmioTransport::kInterruptAck, sizeof(std::uint32_t)));
  bus_->add(*transport);
  slots_.push_back(slot);
  lines_.push_back(std::move(line));
  transports_.push_back(std::move(transport));
  return {};
}

MmioTransport* DeviceSet::find(std::string_view name) const {
  const auto it = std::ranges::find(transports_, name, &MmioTransport::name);
  return it == transports_.end() ? nullptr : it->get();
}

void DeviceSet::pause() {
  for (const auto& transport : transports_) transport->pause();
}

void DeviceSet::resume() {
  for (const auto& transport : transports_) transport->resume();
}

}  // namespace mvm::vmm
