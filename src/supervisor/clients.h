// SPDX-License-Identifier: Apache-2.0
// The commands connected to a supervisor: its control socket, their links, and the state they are
// told.
#pragma once

#include <functional>
#include <list>
#include <memory>

#include "supervisor/router.h"
#include "sys/event_loop.h"
#include "wire/link.h"

namespace mvm::supervisor {

class Clients {
 public:
  struct Handlers {
    std::function<void(const wire::Stop&)> on_stop;
    // The command that made the machine has gone.
    std::function<void()> on_founder_gone;
  };
  Clients(sys::EventLoop& loop, Handlers handlers) : loop_(loop), handlers_(std::move(handlers)) {}
  ~Clients();

  // Listens on the control socket.
  Result<> listen(const std::string& path);
  // Takes the connection of the command that made the machine.
  Result<> add_founder(sys::UniqueFd fd);

  // Streams go to this router from now on; nullptr while there is no guest.
  void set_router(Router* router);
  // Tells every client, now and on connecting.
  void set_state(const wire::VmState& state);
  // Runs the loop until everything queued for clients has been taken, or the deadline passes; then
  // hangs up.
  void drain(const Deadline& deadline);

 private:
  struct Client {
    std::unique_ptr<wire::Link> link;
    Router::PeerId peer = 0;
    bool founder = false;
    bool gone = false;
  };
  Result<> add(sys::UniqueFd fd, bool founder);
  Result<> on_frame(Client& client, const wire::Frame& frame);
  void on_gone(Client& client);
  void accept();
  void join_router(Client& client);

  sys::EventLoop& loop_;
  Handlers handlers_;
  sys::UniqueFd listener_;
  std::list<Client> clients_;
  Router* router_ = nullptr;
  wire::VmState state_;
};

}  // namespace mvm::supervisor
