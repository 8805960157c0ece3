// SPDX-License-Identifier: Apache-2.0
#include "supervisor/clients.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>

#include "core/log.h"
#include "sys/socket.h"

namespace mvm::supervisor {
namespace {

// Connected commands at once; each may hold a link's queue of memory.
constexpr std::size_t kMaxClients = 256;

}  // namespace

using wire::FrameType;

Clients::~Clients() {
  if (listener_) loop_.remove(listener_.get());
}

Result<> Clients::listen(sys::UniqueFd listener) {
  listener_ = std::move(listener);
  return loop_.add(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept(); });
}

bool Clients::accept() {
  auto fd = sys::accept_connection(listener_.get());
  if (!fd) return false;
  // The socket is 0600 in a 0700 directory; this is the second lock on the same door.
  const auto uid = sys::peer_uid(fd->get());
  if (!uid || (*uid != ::geteuid() && *uid != 0))
    log::warn("refused a client of another user");
  else if (clients_.size() >= kMaxClients)
    log::warn("refused a client: too many are connected");
  else if (auto added = add(std::move(*fd), false); !added)
    log::warn(added.error().text());
  return true;
}

Result<> Clients::add_founder(sys::UniqueFd fd) { return add(std::move(fd), true); }

Result<> Clients::add(sys::UniqueFd fd, bool founder) {
  Client& client = clients_.emplace_back();
  client.id = next_id_++;
  client.founder = founder;
  client.link = std::make_unique<wire::Link>(
      loop_, std::move(fd),
      wire::Link::Handlers{
          [this, &client](const wire::Frame& frame) { return on_frame(client, frame); },
          [this, &client](std::optional<Error> error) {
            if (error) log::info("client: " + error->text());
            on_gone(client);
          },
          {}});
  MVM_TRY(client.link->start());
  client.link->send_control(
      FrameType::kHello, wire::encode(wire::Hello{wire::kProtocolVersion, "mvm-supervisor", ""}));
  client.link->send_control(FrameType::kState, wire::encode(state_));
  join_router(client);
  tell_count();
  return {};
}

void Clients::tell_count() {
  const auto connected = std::ranges::count_if(clients_, [](const Client& c) { return !c.gone; });
  handlers_.on_count(static_cast<std::size_t>(connected));
}

void Clients::join_router(Client& client) {
  client.peer = 0;
  if (router_ == nullptr || client.gone) return;
  client.peer = router_->add_peer([&client](const wire::Frame& frame) {
    client.link->send(frame.stream, frame.type, frame.channel, frame.payload);
  });
}

void Clients::set_router(Router* router) {
  router_ = router;
  for (Client& client : clients_) join_router(client);
}

Result<> Clients::on_frame(Client& client, const wire::Frame& frame) {
  if (frame.stream != 0) {
    const bool opens = frame.type == FrameType::kOpen;
    if (client.peer != 0 && !(opens && refusal_)) return router_->from_peer(client.peer, frame);
    if (!opens) return {};
    const wire::Closed closed{wire::Outcome::kRefused, 0,
                              refusal_.value_or("the machine is not running")};
    client.link->send(frame.stream, FrameType::kClosed, 0, wire::encode(closed));
    return {};
  }
  switch (frame.type) {
    case FrameType::kHello:
      MVM_TRY(wire::decode_hello(frame.payload));
      return {};
    case FrameType::kStop:
      handlers_.on_stop(MVM_TRY(wire::decode_stop(frame.payload)));
      return {};
    case FrameType::kRequest:
      handlers_.on_request(client.id, MVM_TRY(wire::decode_request(frame.payload)));
      return {};
    default:
      return Error(Errc::kInvalidArgument, "unexpected frame from a client");
  }
}

void Clients::on_gone(Client& client) {
  client.gone = true;
  if (client.peer != 0) router_->remove_peer(client.peer);
  client.peer = 0;
  handlers_.on_client_gone(client.id);
  if (client.founder) handlers_.on_founder_gone();
  tell_count();
  // The link is still on the stack of its own callback.
  loop_.after(Millis(0), [this, &client] {
    clients_.remove_if([&](const Client& c) { return &c == &client; });
  });
}

void Clients::set_state(const wire::VmState& state) {
  state_ = state;
  for (Client& client : clients_)
    client.link->send_control(FrameType::kState, wire::encode(state_));
}

void Clients::answer(ClientId id, const wire::Answer& answer) {
  for (Client& client : clients_) {
    if (client.id == id && !client.gone)
      client.link->send_control(FrameType::kAnswer, wire::encode(answer));
  }
}

void Clients::drain(const Deadline& deadline) {
  // Whoever still waits at the door is to hear how it ended. The door stays open: who comes later
  // finds it closed when we are gone, and so is the lock; not before.
  while (listener_ && accept()) {
  }
  const auto waiting = [this] {
    for (const Client& client : clients_) {
      if (!client.gone && client.link->queued() > 0) return true;
    }
    return false;
  };
  while (waiting() && !deadline.passed()) {
    if (!loop_.run_once(deadline)) break;
  }
}

}  // namespace mvm::supervisor
