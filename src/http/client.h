// SPDX-License-Identifier: Apache-2.0
// A client of an HTTP API on a unix socket: requests wait in a queue, one is under way at a time on
// a connection that is kept, and each has a deadline of its own.
//
// When the server has closed the connection between two requests, the next one opens it anew; a
// request that was under way is never sent twice.
//
// Threads: everything on the loop's thread. A callback may send more and may destroy the client.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/result.h"
#include "core/units.h"
#include "http/message.h"
#include "sys/event_loop.h"
#include "sys/unique_fd.h"

namespace mvm::http {

class Client {
 public:
  // Errors name the request ("PUT /actions"): kTimeout; kNotFound when nobody listens; kIo when the
  // connection ended before the answer; kInvalidArgument and kLimit when the answer is not HTTP or
  // too large. An answer of any status is a success.
  using Callback = std::function<void(Result<Response>)>;

  static constexpr std::size_t kMaxBody = 16U << 20;

  // Connects to this path with the first request. The loop outlives the client.
  Client(sys::EventLoop& loop, std::string socket_path);
  // Speaks on this connected stream; when it has ended, requests fail.
  Client(sys::EventLoop& loop, sys::UniqueFd stream);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  // What is in the queue or under way is dropped; no callback comes.
  ~Client();

  // Queues a request. The callback comes once, from the loop, within `limit` from now.
  void send(Request request, Millis limit, Callback callback);
  // With a body of JSON, or none.
  void send(std::string method, std::string target, std::string body, Millis limit,
            Callback callback);

  // Requests whose callbacks have not come yet.
  std::size_t pending() const;

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace mvm::http
