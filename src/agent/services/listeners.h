// SPDX-License-Identifier: Apache-2.0
// Who is told what the services do: pipes and sockets that take it at their own pace.
#pragma once

#include <functional>
#include <list>
#include <string>

#include "sys/event_loop.h"
#include "sys/unique_fd.h"
#include "wire/messages.h"

namespace mvm::agent::services {

class Listeners {
 public:
  // `on_drained` is called when there is room again after congested() was true; `on_word` for each
  // byte that a socket sends.
  Listeners(sys::EventLoop& loop, std::function<void()> on_drained, std::function<void()> on_word)
      : loop_(loop), on_drained_(std::move(on_drained)), on_word_(std::move(on_word)) {}
  ~Listeners();

  // A pipe is only written to; a socket may speak.
  Result<> add(sys::UniqueFd fd, bool is_socket, const std::string& first);
  void tell(const std::string& record);
  // Somebody has much to take that was said already.
  bool congested() const;
  bool empty() const { return listeners_.empty(); }
  bool idle() const;  // everything was taken

 private:
  struct Listener {
    sys::UniqueFd fd;
    bool is_socket = false;
    bool gone = false;
    std::string queue;
  };
  void on_event(Listener& listener, std::uint32_t events);
  void send(Listener& listener);
  void drop(Listener& listener);
  void sweep();

  sys::EventLoop& loop_;
  std::function<void()> on_drained_;
  std::function<void()> on_word_;
  std::list<Listener> listeners_;
};

}  // namespace mvm::agent::services
