// SPDX-License-Identifier: Apache-2.0
// A small HTTP/1.1 server on an event loop: for the API of a monitor on its unix socket.
//
// A connection has at most one request in the handler's hands; the next ones of it wait in the
// kernel's buffer until the answer is out. So answers keep the order of requests, and a client that
// sends much, or nothing, or does not read, costs its connection and its few buffered bytes only.
// What is not HTTP, or too large, is answered once with 400 and {"error": …}, and then the
// connection ends.
//
//   reading ──request──▶ handler ──answer──▶ writing ──keep-alive──▶ reading
//      │ malformed, too large                   │ close, end of stream
//      └──────────────▶ writing 400 ────────────┴──▶ draining (≤ drain_time) ──▶ closed
//
// Threads: everything on the loop's thread.
// Source: RFC 9112; sizes and error answers as Firecracker's API has them.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "core/result.h"
#include "core/units.h"
#include "http/message.h"
#include "http/parser.h"
#include "sys/event_loop.h"
#include "sys/unique_fd.h"

namespace mvm::http {

struct ServerOptions {
  ParserLimits limits;
  std::size_t max_connections = 64;  // one more is told 503 and closed
  std::string server_name = "mvm";
  // After an error the client may still be writing; what it writes is dropped for so long, so that
  // it can read the answer.
  Millis drain_time{1000};
};

class ServerState;

// The answer to one request: call it once, from the loop's thread, now or later. When the client
// or the server is gone, nothing happens. Destroyed without a call it answers 500.
class Responder {
 public:
  Responder(std::weak_ptr<ServerState> server, std::uint64_t connection);
  Responder(Responder&& other) noexcept;
  Responder& operator=(Responder&&) = delete;
  ~Responder();

  void operator()(const Response& response);

 private:
  std::weak_ptr<ServerState> server_;
  std::uint64_t connection_;
};

using Handler = std::function<void(Request, Responder)>;

class Server {
 public:
  // `listener` is a listening stream socket; the loop outlives the server.
  static Result<Server> create(sys::EventLoop& loop, sys::UniqueFd listener, Handler handler,
                               ServerOptions options = {});
  Server(Server&&) noexcept;
  Server& operator=(Server&&) noexcept;
  // Closes the connections, unanswered requests included. Not from within the handler.
  ~Server();

  // Takes over a connected stream as if it had been accepted.
  Result<> serve(sys::UniqueFd connection);

  std::size_t connection_count() const;

 private:
  explicit Server(std::shared_ptr<ServerState> state);
  std::shared_ptr<ServerState> state_;
};

}  // namespace mvm::http
