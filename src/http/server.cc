// SPDX-License-Identifier: Apache-2.0
#include "http/server.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <unordered_map>
#include <utility>
#include <vector>

#include "core/log.h"
#include "http/connection.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::http {
namespace {

// When the process has no descriptor left, the listener stays readable: it is looked at again
// later.
constexpr Millis kAcceptPause{100};

}  // namespace

class ServerState : public std::enable_shared_from_this<ServerState> {
 public:
  ServerState(sys::EventLoop& loop, sys::UniqueFd listener, Handler handler, ServerOptions options)
      : loop_(loop),
        listener_(std::move(listener)),
        handler_(std::move(handler)),
        options_(std::move(options)) {}

  ~ServerState() {
    if (pause_timer_ != 0) loop_.cancel(pause_timer_);
    loop_.cancel_deferred(this);
    loop_.remove(listener_.get());
  }

  Result<> start() {
    MVM_TRY(sys::set_nonblocking(listener_.get(), true));
    return loop_.add(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept_one(); });
  }

  Result<> serve(sys::UniqueFd fd) {
    const std::uint64_t id = next_id_++;
    Connection::Calls calls{
        [this, id](Request request) {
          handler_(std::move(request), Responder(weak_from_this(), id));
        },
        [this, id] { forget(id); },
    };
    auto connection =
        std::make_shared<Connection>(loop_, std::move(fd), options_, std::move(calls));
    MVM_TRY(connection->start());
    connections_.emplace(id, std::move(connection));
    return {};
  }

  void respond(std::uint64_t id, const Response& response) {
    const auto it = connections_.find(id);
    if (it != connections_.end()) it->second->respond(response);
  }

  std::size_t count() const { return connections_.size(); }

 private:
  // One a turn of the loop, so that clients that have left make room before the next is counted.
  void accept_one() {
    Result<sys::UniqueFd> fd = sys::accept_connection(listener_.get());
    if (!fd) return accept_failed(fd.error());
    if (connections_.size() >= options_.max_connections) {
      turn_away(*fd);
    } else if (const Result<> served = serve(std::move(*fd)); !served) {
      log::warn("http: " + served.error().text());
    }
  }

  void accept_failed(const Error& error) {
    if (error.errnum() == EAGAIN || error.errnum() == ECONNABORTED) return;
    log::warn("http: " + error.text());
    if (pause_timer_ != 0 || !loop_.modify(listener_.get(), 0)) return;
    pause_timer_ = loop_.after(kAcceptPause, [this] {
      pause_timer_ = 0;
      if (const Result<> on = loop_.modify(listener_.get(), EPOLLIN); !on)
        log::error("http: " + on.error().text());
    });
  }

  void turn_away(const sys::UniqueFd& fd) {
    const std::string bytes =
        serialize(error_response(503, "Too many open connections"), options_.server_name, false);
    // A new socket's buffer takes it whole; a client that is gone already does not matter.
    [[maybe_unused]] const ssize_t sent =
        ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  // The connection is still on the stack: it goes at the end of the turn.
  void forget(std::uint64_t id) {
    auto node = connections_.extract(id);
    if (node.empty()) return;
    closed_.push_back(std::move(node.mapped()));
    loop_.defer(this, [this] { closed_.clear(); });
  }

  sys::EventLoop& loop_;
  sys::UniqueFd listener_;
  Handler handler_;
  const ServerOptions options_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Connection>> connections_;
  std::vector<std::shared_ptr<Connection>> closed_;
  std::uint64_t next_id_ = 1;
  sys::EventLoop::TimerId pause_timer_ = 0;
};

Responder::Responder(std::weak_ptr<ServerState> server, std::uint64_t connection)
    : server_(std::move(server)), connection_(connection) {}

Responder::Responder(Responder&& other) noexcept
    : server_(std::move(other.server_)), connection_(std::exchange(other.connection_, 0)) {}

Responder::~Responder() {
  if (connection_ != 0) (*this)(error_response(500, "the request was dropped"));
}

void Responder::operator()(const Response& response) {
  const std::uint64_t connection = std::exchange(connection_, 0);
  const std::shared_ptr<ServerState> server = server_.lock();
  if (connection != 0 && server) server->respond(connection, response);
}

Server::Server(std::shared_ptr<ServerState> state) : state_(std::move(state)) {}
Server::Server(Server&&) noexcept = default;
Server& Server::operator=(Server&&) noexcept = default;
Server::~Server() = default;

Result<Server> Server::create(sys::EventLoop& loop, sys::UniqueFd listener, Handler handler,
                              ServerOptions options) {
  auto state = std::make_shared<ServerState>(loop, std::move(listener), std::move(handler),
                                             std::move(options));
  MVM_TRY(state->start());
  return Server(std::move(state));
}

Result<> Server::serve(sys::UniqueFd connection) { return state_->serve(std::move(connection)); }

std::size_t Server::connection_count() const { return state_->count(); }

}  // namespace mvm::http
