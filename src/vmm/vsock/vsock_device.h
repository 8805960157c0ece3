// SPDX-License-Identifier: Apache-2.0
// The virtio-vsock device: streams between ports of the guest and unix sockets of the host.
//
// Host to guest: a client connects to `uds_path`, writes "CONNECT <port>\n", reads
// "OK <host port>\n" once the guest has accepted; nothing but an end of file if it has not (within
// two seconds). Guest to host: a connection to CID 2, port P goes to the unix socket
// "<uds_path>_<P>"; it is reset when nobody listens there. Clients that come before the guest's
// driver is ready wait in the listener's backlog.
//
// Connections do not survive a snapshot: the restored guest gets a transport reset event, and until
// its driver has seen that, nothing else. The VM that was saved keeps its connections.
//
// Source: VIRTIO 1.2, section 5.10; Firecracker API 1.x, vsock.
// Threads: as VirtioDevice.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "vmm/virtio/device.h"
#include "vmm/vsock/metrics.h"
#include "vmm/vsock/muxer.h"
#include "vmm/vsock/rx_ring.h"

namespace mvm::vmm {

class VsockDevice final : public VirtioDevice {
 public:
  static constexpr std::size_t kRx = 0;
  static constexpr std::size_t kTx = 1;
  static constexpr std::size_t kEvent = 2;
  static constexpr std::uint64_t kLeastCid = 3;
  static constexpr std::size_t kMostPath = 4096;

  // Listens at once (mode 0600); the file goes away with the device.
  // Errors: kInvalidArgument for a cid that is reserved or over 32 bits; kBusy when the path
  // exists.
  static Result<std::unique_ptr<VsockDevice>> create(std::uint64_t guest_cid,
                                                     const std::string& uds_path);
  // What save() wrote says which cid and path; `override_path` replaces the path.
  // Errors: kCorrupt; those of create().
  static Result<std::unique_ptr<VsockDevice>> create_restored(
      ByteReader& in, const std::optional<std::string>& override_path = std::nullopt);
  ~VsockDevice() override;

  DeviceType type() const override { return DeviceType::kVsock; }
  std::uint64_t features() const override { return 0; }
  std::span<const std::uint16_t> queue_sizes() const override;
  void read_config(std::uint32_t offset, std::span<std::byte> out) const override;
  Result<> activate(DeviceHost& host) override;
  void notify(std::size_t queue) override;
  void reset() override;
  void save(ByteWriter& out) const override;
  // The path in the saved state is ignored: this device has one. Errors: kCorrupt, also for another
  // cid.
  Result<> restore(ByteReader& in) override;

  std::uint64_t guest_cid() const { return guest_cid_; }
  const std::string& uds_path() const { return muxer_.path(); }
  std::size_t connections() const { return muxer_.connections(); }
  const VsockMetrics& metrics() const { return metrics_; }

 private:
  VsockDevice(std::uint64_t guest_cid, BoundSocket socket);
  void process_tx();
  void process_rx();
  // Runs process_tx() and process_rx() in the loop's next turn: the other devices' turn is now.
  void go_on_later();
  void on_chain(const Chain& chain);
  // The event queue after a restore; see events_expected_.
  void process_events();
  Result<std::size_t> count_event_buffers();
  Result<> send_reset_event();
  void fail(const Error& error);

  std::uint64_t guest_cid_;
  VsockMetrics metrics_;
  Muxer muxer_;
  RxRing ring_;
  DeviceHost* host_ = nullptr;
  std::unique_ptr<Chain> chain_ = std::make_unique_for_overwrite<Chain>();
  bool more_tx_ = false;  // process_tx() has stopped before the end
  DeviceHost::TimerId later_ = 0;
  bool later_set_ = false;
  // A restored guest must hear of the reset before anything else. Its driver gives an event buffer
  // back when it has handled the event: so many must be there.
  bool reset_event_owed_ = false;
  std::size_t events_expected_ = 0;  // 0: nothing is waited for
  std::size_t events_unhandled_ = 0;
};

}  // namespace mvm::vmm
