// SPDX-License-Identifier: Apache-2.0
#include "sys/event_loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>

namespace mvm::sys {
namespace {

// The event carries the descriptor and the low half of its registration's generation, so that an
// event of a closed and reused descriptor number is told apart and dropped.
std::uint64_t pack(int fd, std::uint64_t generation) {
  return (generation << 32) | static_cast<std::uint32_t>(fd);
}

}  // namespace

Result<EventLoop> EventLoop::create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return Error::from_errno("epoll_create1");
  return EventLoop(std::move(epoll));
}

Result<> EventLoop::add(int fd, std::uint32_t epoll_events, FdCallback callback) {
  const std::uint64_t generation = next_generation_++ & 0xffffffff;
  epoll_event event{};
  event.events = epoll_events;
  event.data.u64 = pack(fd, generation);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
    return Error::from_errno("epoll_ctl");
  watches_[fd] = std::make_shared<Watch>(Watch{std::move(callback), generation});
  return {};
}

Result<> EventLoop::modify(int fd, std::uint32_t epoll_events) {
  const auto it = watches_.find(fd);
  if (it == watches_.end()) return Error(Errc::kNotFound, "descriptor is not watched");
  epoll_event event{};
  event.events = epoll_events;
  event.data.u64 = pack(fd, it->second->generation);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) != 0)
    return Error::from_errno("epoll_ctl");
  return {};
}

void EventLoop::remove(int fd) {
  if (watches_.erase(fd) > 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

EventLoop::TimerId EventLoop::after(Millis delay, std::function<void()> callback) {
  const TimerId id = next_timer_++;
  timers_.emplace(Clock::now() + delay, std::make_pair(id, std::move(callback)));
  return id;
}

void EventLoop::cancel(TimerId id) {
  std::erase_if(timers_, [id](const auto& timer) { return timer.second.first == id; });
}

int EventLoop::wait_timeout(const Deadline& deadline) const {
  int timeout = deadline.poll_timeout();
  if (!timers_.empty()) {
    const auto left = std::chrono::ceil<Millis>(timers_.begin()->first - Clock::now()).count();
    const int next = static_cast<int>(std::clamp<std::int64_t>(left, 0, 1 << 30));
    timeout = timeout < 0 ? next : std::min(timeout, next);
  }
  return timeout;
}

void EventLoop::run_timers() {
  while (!timers_.empty() && timers_.begin()->first <= Clock::now()) {
    auto callback = std::move(timers_.begin()->second.second);
    timers_.erase(timers_.begin());
    callback();
  }
}

void EventLoop::defer(const void* owner, std::function<void()> callback) {
  for (const auto& entry : deferred_) {
    if (entry.first == owner) return;
  }
  deferred_.emplace_back(owner, std::move(callback));
}

void EventLoop::cancel_deferred(const void* owner) {
  std::erase_if(deferred_, [owner](const auto& entry) { return entry.first == owner; });
}

void EventLoop::run_deferred() {
  while (!deferred_.empty()) {
    auto callback = std::move(deferred_.back().second);
    deferred_.pop_back();
    callback();
  }
}

Result<> EventLoop::run_once(const Deadline& deadline) {
  // What is awaited may happen in there (a link that breaks while sending): then only look, do not
  // wait.
  const bool worked = !deferred_.empty();
  run_deferred();
  std::array<epoll_event, 64> events;
  // Under a flood of events there is never a moment without one, and the deadline must pass all the
  // same.
  const bool late = deadline.passed();
  const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                             worked ? 0 : wait_timeout(deadline));
  if (n < 0 && errno != EINTR) return Error::from_errno("epoll_wait");
  for (int i = 0; i < n; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const int fd = static_cast<int>(event.data.u64 & 0xffffffff);
    const auto it = watches_.find(fd);
    if (it == watches_.end() || it->second->generation != event.data.u64 >> 32) continue;
    const std::shared_ptr<Watch> watch = it->second;  // the callback may remove itself
    watch->callback(event.events);
  }
  run_timers();
  run_deferred();
  if ((n == 0 || late) && deadline.passed()) return deadline.error();
  return {};
}

Result<> EventLoop::run() {
  const Deadline never = Deadline::none();
  while (!stopped_) MVM_TRY(run_once(never));
  return {};
}

}  // namespace mvm::sys
