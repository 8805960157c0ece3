// SPDX-License-Identifier: Apache-2.0
// The network that a guest sees: a router, a DHCP server and a name server in this process, whose
// connections are this process's own sockets (libslirp).
//
// The addresses are those of QEMU's `-netdev user`: guest 10.0.2.15/24, router 10.0.2.2 (which is
// also the host's loopback), name server 10.0.2.3. IPv6 is off.
//
// Threads: one.
#pragma once

#include <poll.h>

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/result.h"
#include "netd/options.h"

namespace mvm::netd {

class UserNet {
 public:
  using Send = std::function<void(std::span<const std::byte>)>;

  // `send` gets every frame for the guest, from within input() and dispatch().
  // Errors: that of the first forward whose port cannot be bound, which it names.
  static Result<UserNet> create(const Options& options, Send send);
  UserNet(UserNet&&) noexcept;
  ~UserNet();

  // A frame from the guest: any bytes.
  void input(std::span<const std::byte> frame);

  // Appends what is to be polled and lowers `timeout` (ms, -1 for ever) to the next timer.
  void fill(std::vector<pollfd>& fds, int& timeout);
  // After poll(2): `fds` is the vector that fill() appended to.
  void dispatch(std::span<const pollfd> fds);

 private:
  struct Impl;
  explicit UserNet(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mvm::netd
