// SPDX-License-Identifier: Apache-2.0
// One connection of the server. Internal to this module.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "http/server.h"

namespace mvm::http {

class Connection {
 public:
  struct Calls {
    std::function<void(Request)> request;
    std::function<void()> closed;  // to be forgotten; called at most once
  };

  Connection(sys::EventLoop& loop, sys::UniqueFd fd, const ServerOptions& options, Calls calls);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  Result<> start();
  // The answer to the request that was handed out last.
  void respond(const Response& response);

 private:
  enum class Phase { kReading, kHandling, kDraining, kClosed };

  void on_events(std::uint32_t events);
  void read_input();
  void process_input();
  void refuse(const Error& error);
  void send(std::string_view bytes);
  void flush();
  void begin_draining();
  void update();
  void close();
  bool all_sent() const;
  bool wants_input() const;

  sys::EventLoop& loop_;
  sys::UniqueFd fd_;
  const ServerOptions& options_;
  Calls calls_;
  Parser parser_;
  Phase phase_ = Phase::kReading;
  std::string input_;  // read, but not parsed yet
  std::string output_;
  std::size_t sent_ = 0;  // of output_
  std::uint32_t interest_ = 0;
  bool input_ended_ = false;
  bool keep_alive_ = true;
  bool processing_ = false;
  sys::EventLoop::TimerId drain_timer_ = 0;
};

}  // namespace mvm::http
