// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/io_thread.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <condition_variable>

namespace mvm::vmm {

Result<std::unique_ptr<IoThread>> IoThread::create(sys::EventLoop& loop) {
  sys::UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return Error::from_errno("eventfd of the I/O thread");
  std::unique_ptr<IoThread> out(new IoThread(loop, std::move(event)));
  MVM_TRY(loop.add(out->event_.get(), EPOLLIN, [io = out.get()](std::uint32_t) { io->drain(); }));
  return out;
}

IoThread::~IoThread() { loop_.remove(event_.get()); }

void IoThread::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(event_.get(), &one, sizeof one);
}

void IoThread::post(std::function<void()> call) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(call));
  }
  wake();
}

void IoThread::run(const std::function<void()>& call) {
  if (std::this_thread::get_id() == owner_) return call();
  std::mutex mutex;
  std::condition_variable ended;
  bool done = false;
  post([&] {
    call();
    // The waiter's stack is gone once it can see `done`: notify while it cannot.
    const std::lock_guard lock(mutex);
    done = true;
    ended.notify_one();
  });
  std::unique_lock lock(mutex);
  ended.wait(lock, [&] { return done; });
}

// What is posted meanwhile wakes us again. One at a time: a call may itself wait for what was
// posted behind it (wait_until).
void IoThread::drain() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto n = ::read(event_.get(), &count, sizeof count);
  std::size_t left = 0;
  {
    const std::lock_guard lock(mutex_);
    left = posted_.size();
  }
  for (; left > 0; --left) {
    std::function<void()> call;
    {
      const std::lock_guard lock(mutex_);
      if (posted_.empty()) return;
      call = std::move(posted_.front());
      posted_.pop_front();
    }
    call();
  }
}

// Looks at `done` between draining, which takes the wakes, and waiting for one. Drains first, for
// we may be within a drain that took the wakes of what is left.
void IoThread::wait_until(const std::function<bool()>& done) {
  while (!done()) {
    drain();
    if (done()) break;
    pollfd ready{event_.get(), POLLIN, 0};
    ::poll(&ready, 1, -1);
  }
  drain();
}

}  // namespace mvm::vmm
