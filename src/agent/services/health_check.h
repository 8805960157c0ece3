// SPDX-License-Identifier: Apache-2.0
// One service's check of health, again and again.
//
// Begins at once and is in a hurry until it succeeds for the first time, so that whoever waits need
// not wait for an interval; failures within the start period, or else the first interval, do not
// count. Then `retries` failures in a row make it unhealthy, and one success healthy.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "agent/process/process.h"
#include "sys/event_loop.h"
#include "wire/messages.h"

namespace mvm::agent::services {

class HealthCheck {
 public:
  struct Handlers {
    // Starts the check's command; its pid, whose end on_exit() is told. Errors: why not.
    std::function<Result<pid_t>(const std::vector<std::string>& argv)> start;
    std::function<void(wire::Health, const std::string& why)> on_change;
  };
  HealthCheck(sys::EventLoop& loop, wire::HealthRequest request, Handlers handlers);
  ~HealthCheck();
  HealthCheck(const HealthCheck&) = delete;
  HealthCheck& operator=(const HealthCheck&) = delete;

  // A child has ended. True when it was this check's.
  bool on_exit(pid_t pid, int wait_status);

 private:
  void probe();
  void connect();
  void on_connected();
  void on_answer();
  void finish(const std::optional<std::string>& failure);
  void close_socket();

  sys::EventLoop& loop_;
  wire::HealthRequest request_;
  Handlers handlers_;
  Clock::time_point began_ = Clock::now();
  Millis hurry_;
  bool was_healthy_ = false;
  std::uint32_t failures_ = 0;
  wire::Health health_ = wire::Health::kStarting;
  pid_t pid_ = 0;
  sys::UniqueFd socket_;
  std::string answer_;
  std::optional<sys::EventLoop::TimerId> timer_;  // the next probe, or the end of this one
};

}  // namespace mvm::agent::services
