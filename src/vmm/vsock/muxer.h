// SPDX-License-Identifier: Apache-2.0
// All connections of the device: who gets a guest's packet, and who may send to the guest next.
//
// Connections with something for the guest stand in a line; each turn gives the first one at most
// RxRing::kMost buffers and sends it to the end (round robin). A connection whose data the guest
// cannot take now is not watched, so nothing spins.
//
// Threads: none; the device's lock.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "vmm/virtio/device.h"
#include "vmm/vsock/connection.h"
#include "vmm/vsock/host_listener.h"
#include "vmm/vsock/rx_ring.h"

namespace mvm::vmm {

class Muxer {
 public:
  // Clients that have not said their line, connections, and buffers still to be flushed.
  static constexpr std::size_t kMostConnections = 1023;
  // What one connection may have waiting for the host. Linux queues a sender's packets and sends
  // them when the sender sleeps, which it does when its credit is used up: with the large size it
  // goes on while the last ones are passed on (half as fast again as with 1 MiB). Only the first
  // connections get it, so that a guest can make us hold 95 MiB at most.
  static constexpr std::uint32_t kLargeBuffer = 4 << 20;
  static constexpr std::uint32_t kSmallBuffer = 64 << 10;
  static constexpr std::size_t kLargeConnections = 8;
  // Resets owed to the guest for packets that belong to no connection, or to one that was ended.
  static constexpr std::size_t kMostResets = 2048;
  static constexpr std::uint32_t kFirstPort = 1U << 30;

  // `wake` is called when there is something for the guest after an event of the host.
  Muxer(std::uint64_t guest_cid, BoundSocket socket, VsockMetrics& metrics,
        std::function<void()> wake);

  const std::string& path() const { return listener_.path(); }
  Result<> start(DeviceHost& host);
  // Ends all connections without a word to the guest.
  void stop();

  // A packet of the guest.
  void on_packet(const CheckedPacket& packet, std::span<const iovec> payload);

  bool has_rx() const { return !resets_.empty() || !line_.empty(); }
  enum class Delivery {
    kStarved,  // the guest has no buffer for it
    kNothing,  // it turned out that there was nothing
    kControl,
    kData,
  };
  // One turn. Call only when has_rx(). Errors: kGuestFault.
  Result<Delivery> deliver(RxRing& ring);

  std::size_t connections() const { return connections_.size(); }
  // The last port given to a host's client, kept across a snapshot.
  std::uint32_t last_port() const { return last_port_; }
  void set_last_port(std::uint32_t port) { last_port_ = port; }

 private:
  using Connections = std::unordered_map<ConnectionKey, std::unique_ptr<Connection>>;
  struct Reset {
    ConnectionKey key;
    std::uint16_t type;
  };

  bool has_room() const;
  std::uint32_t next_buffer() const;
  void on_client(sys::UniqueFd socket, std::uint32_t port);
  void on_request(const PacketHeader& header);
  void add(Connection connection);
  void on_host(ConnectionKey key, std::uint32_t events);
  void on_tick();
  void settle(Connection& connection, Connection::Verdict verdict, bool guest_knows = false);
  void remove(ConnectionKey key);
  void drain(ConnectionKey key);
  void on_drain(int fd, std::uint32_t events);
  void owe_reset(ConnectionKey key, std::uint16_t type);
  void update(Connection& connection);
  Result<Delivery> deliver_reset(RxRing& ring);
  Result<Delivery> deliver_data(Connection& connection, RxRing& ring);

  std::uint64_t guest_cid_;
  VsockMetrics& metrics_;
  std::function<void()> wake_;
  HostListener listener_;
  DeviceHost* host_ = nullptr;
  Connections connections_;
  std::unordered_map<int, std::unique_ptr<Connection>> draining_;
  std::deque<Connection*> line_;
  std::deque<Reset> resets_;
  std::uint32_t last_port_ = kFirstPort - 1;
  DeviceHost::TimerId tick_ = 0;
  bool ticking_ = false;
  bool refusal_logged_ = false;
};

}  // namespace mvm::vmm
