// SPDX-License-Identifier: Apache-2.0
// The commands connected to a supervisor: its control socket, their links, and the state they are
// told.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>

#include "supervisor/router.h"
#include "sys/event_loop.h"
#include "wire/link.h"

namespace mvm::supervisor {

class Clients {
 public:
  using ClientId = std::uint64_t;
  struct Handlers {
    std::function<void(const wire::Stop&)> on_stop;
    std::function<void(ClientId, wire::Request)> on_request;
    // What it waited for is nobody's any more.
    std::function<void(ClientId)> on_client_gone;
    // The command that made the machine has gone.
    std::function<void()> on_founder_gone;
    // How many are connected, at every change.
    std::function<void(std::size_t)> on_count;
  };
  Clients(sys::EventLoop& loop, Handlers handlers) : loop_(loop), handlers_(std::move(handlers)) {}
  ~Clients();

  // Takes connections of the control socket from now on.
  Result<> listen(sys::UniqueFd listener);
  // Takes the connection of the command that made the machine.
  Result<> add_founder(sys::UniqueFd fd);

  // Streams go to this router from now on; nullptr while there is no guest.
  void set_router(Router* router);
  // Tells every client, now and on connecting.
  void set_state(const wire::VmState& state);
  // Answers a request. Fine when the client has gone.
  void answer(ClientId client, const wire::Answer& answer);
  // While there is a refusal, new streams are answered with it; open ones are left alone.
  void refuse_streams(std::optional<std::string> why) { refusal_ = std::move(why); }
  // Runs the loop until everything queued for clients has been taken, or the deadline passes; then
  // hangs up.
  void drain(const Deadline& deadline);

 private:
  struct Client {
    std::unique_ptr<wire::Link> link;
    ClientId id = 0;
    Router::PeerId peer = 0;
    bool founder = false;
    bool gone = false;
  };
  Result<> add(sys::UniqueFd fd, bool founder);
  Result<> on_frame(Client& client, const wire::Frame& frame);
  void on_gone(Client& client);
  void tell_count();
  // The next one that waits at the door; false when there is none.
  bool accept();
  void join_router(Client& client);

  sys::EventLoop& loop_;
  Handlers handlers_;
  sys::UniqueFd listener_;
  std::list<Client> clients_;
  Router* router_ = nullptr;
  wire::VmState state_;
  std::optional<std::string> refusal_;
  ClientId next_id_ = 1;
};

}  // namespace mvm::supervisor
