// SPDX-License-Identifier: Apache-2.0
// Starts services in their order, starts them again when they end, and stops them in the opposite
// order.
//
// A service is started when those that it comes after run, and are healthy as far as they are
// checked, or have ended well. One that ends is started again after a while that doubles from 100
// ms to 30 s; when it has run for ten seconds it begins anew.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/services/health_check.h"
#include "agent/services/listeners.h"
#include "sys/event_loop.h"
#include "wire/messages.h"

namespace mvm::agent::services {

class Manager {
 public:
  Manager(sys::EventLoop& loop, const std::vector<wire::ServiceRequest>& services, int cgroup_fd);
  ~Manager();
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  // Starts what can start.
  void start();
  // `fd` is told every state, then what happens. A socket that says something stops the services.
  Result<> add_listener(sys::UniqueFd fd, bool is_socket);
  // Reaps the children that have ended.
  void on_child();
  // Stops all of them; done() afterwards.
  void stop();
  // Everything has stopped and was told.
  bool done() const;

 private:
  struct Unit {
    wire::ServiceRequest request;
    wire::ServiceState state;
    std::unique_ptr<HealthCheck> check;
    std::optional<sys::EventLoop::TimerId> timer;  // until it is started again, or killed
    Clock::time_point started{};
    std::uint32_t failures = 0;  // in a row
    bool exec_failed = false;    // the message says why
  };
  struct Output {
    std::string name;
    sys::UniqueFd fd;
    bool gone = false;
  };

  bool may_start(const Unit& unit) const;
  bool is_needed(const Unit& unit) const;
  void start_waiting();
  void launch(Unit& unit);
  void not_started(Unit& unit, const Error& why);
  void begin_check(Unit& unit);
  void on_ended(Unit& unit, int wait_status);
  void restart_or_rest(Unit& unit, bool failed);
  void set_phase(Unit& unit, wire::ServicePhase phase);
  void stop_next();
  void tell(const Unit& unit);
  void watch(const std::string& name, sys::UniqueFd fd);
  // There was something, and there may be more.
  bool read(Output& output);
  void read_last_words(const std::string& name);
  void read_all(bool on);
  void sweep();

  sys::EventLoop& loop_;
  int cgroup_fd_;
  std::vector<std::unique_ptr<Unit>> units_;
  std::list<Output> outputs_;
  Listeners listeners_;
  bool stopping_ = false;
  bool reading_ = true;
};

}  // namespace mvm::agent::services
