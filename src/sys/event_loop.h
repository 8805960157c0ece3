// SPDX-License-Identifier: Apache-2.0
// A single-threaded epoll loop with timers: the heart of the supervisor, of the guest agent and of
// every CLI command that streams. It waits for events only; nothing in mvm polls or sleeps.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/result.h"
#include "core/units.h"
#include "sys/unique_fd.h"

namespace mvm::sys {

class EventLoop {
 public:
  using FdCallback = std::function<void(std::uint32_t epoll_events)>;
  using TimerId = std::uint64_t;

  static Result<EventLoop> create();
  EventLoop(EventLoop&&) = default;

  // Watches a descriptor (level-triggered). The caller keeps owning it and must remove it before
  // closing it.
  Result<> add(int fd, std::uint32_t epoll_events, FdCallback callback);
  // Changes what is waited for; 0 keeps the registration silent (errors and hang-ups are still
  // told).
  Result<> modify(int fd, std::uint32_t epoll_events);
  // Safe inside callbacks, its own included; no callback for this fd comes afterwards.
  void remove(int fd);

  // Calls back once, `delay` from now.
  TimerId after(Millis delay, std::function<void()> callback);
  void cancel(TimerId id);

  // Calls back once, before the loop waits again: work that several callbacks of one turn ask for
  // and that is done best once (sending what they queued). One per owner; a second call changes
  // nothing.
  void defer(const void* owner, std::function<void()> callback);
  // To be called by an owner that goes away.
  void cancel_deferred(const void* owner);

  // Runs callbacks until stop() is called or a system call fails.
  Result<> run();
  // Waits for at most one batch of events. Errors: the deadline's.
  Result<> run_once(const Deadline& deadline);
  void stop() { stopped_ = true; }
  bool stopped() const { return stopped_; }

 private:
  struct Watch {
    FdCallback callback;
    std::uint64_t generation;
  };
  explicit EventLoop(UniqueFd epoll) : epoll_(std::move(epoll)) {}
  int wait_timeout(const Deadline& deadline) const;
  void run_timers();
  void run_deferred();

  UniqueFd epoll_;
  std::unordered_map<int, std::shared_ptr<Watch>> watches_;
  std::multimap<Clock::time_point, std::pair<TimerId, std::function<void()>>> timers_;
  std::vector<std::pair<const void*, std::function<void()>>> deferred_;
  std::uint64_t next_generation_ = 1;
  TimerId next_timer_ = 1;
  bool stopped_ = false;
};

}  // namespace mvm::sys
