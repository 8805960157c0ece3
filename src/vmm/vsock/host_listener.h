// SPDX-License-Identifier: Apache-2.0
// The device's socket on the host: accepts clients and waits for their line "CONNECT <port>\n".
//
// A line is at most kMostLine bytes; what a client sends behind it stays in its socket, for the
// guest. Clients that connect while no driver is ready wait in the listener's backlog.
//
// Source: Firecracker API 1.x, vsock: host-initiated connections.
// Threads: none; the device's lock.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>

#include "vmm/virtio/device.h"
#include "vmm/vsock/host_socket.h"
#include "vmm/vsock/metrics.h"

namespace mvm::vmm {

class HostListener {
 public:
  static constexpr std::size_t kMostLine = 32;

  struct Calls {
    // Whether one more client may be served; otherwise it is accepted and closed.
    std::function<bool()> has_room;
    std::function<void(sys::UniqueFd, std::uint32_t port)> connect;
  };
  HostListener(BoundSocket socket, Calls calls, VsockMetrics& metrics)
      : socket_(std::move(socket)), calls_(std::move(calls)), metrics_(metrics) {}

  const std::string& path() const { return socket_.path(); }
  // Errors: those of epoll.
  Result<> start(DeviceHost& host);
  // Forgets the clients that have not said their line.
  void stop();
  std::size_t waiting() const { return clients_.size(); }

 private:
  struct Client {
    sys::UniqueFd socket;
    std::array<char, kMostLine> line{};
    std::size_t used = 0;
  };
  void on_listener();
  void retry_later();
  void on_client(int fd);
  // Takes the line's bytes, and none behind them, from the socket. False when the client is lost.
  static bool read_line(Client& client);

  BoundSocket socket_;
  Calls calls_;
  VsockMetrics& metrics_;
  DeviceHost* host_ = nullptr;
  DeviceHost::TimerId retry_ = 0;
  bool retrying_ = false;
  std::unordered_map<int, Client> clients_;
};

}  // namespace mvm::vmm
