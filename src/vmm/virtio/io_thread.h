// SPDX-License-Identifier: Apache-2.0
// The I/O thread: one event loop that runs every device and the API. Other threads hand it work,
// which is done in the order in which it came.
//
// Threads: run() and post() from any thread; the rest from the thread that made the object.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "core/result.h"
#include "sys/event_loop.h"
#include "sys/unique_fd.h"

namespace mvm::vmm {

class IoThread {
 public:
  // The calling thread becomes the I/O thread. Errors: those of eventfd and epoll.
  static Result<std::unique_ptr<IoThread>> create(sys::EventLoop& loop);
  // Work that is left is dropped; no other thread may be waiting in run() any more.
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  sys::EventLoop& loop() { return loop_; }
  // Runs the function on the I/O thread, later.
  void post(std::function<void()> call);
  // Runs it there and waits for its end; at once when called on the I/O thread itself.
  void run(const std::function<void()>& call);
  // On the I/O thread: waits until `done`, meanwhile doing only what others have posted, so that a
  // thread that waits in run() does not keep us waiting for ever. What was posted before `done`
  // came true has been done when this returns.
  // `wake` after a change that `done` looks at.
  void wait_until(const std::function<bool()>& done);
  void wake();

 private:
  IoThread(sys::EventLoop& loop, sys::UniqueFd event)
      : loop_(loop), event_(std::move(event)), owner_(std::this_thread::get_id()) {}
  void drain();

  sys::EventLoop& loop_;
  sys::UniqueFd event_;
  std::thread::id owner_;
  std::mutex mutex_;
  std::deque<std::function<void()>> posted_;
};

}  // namespace mvm::vmm
