// SPDX-License-Identifier: Apache-2.0
// QEMU's machine protocol: one JSON object a line over a unix socket.
//
// Source: QEMU docs/interop/qmp-spec.txt.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "core/result.h"
#include "sys/event_loop.h"
#include "sys/unique_fd.h"

namespace mvm::backend::qemu {

// One line from QEMU, understood as far as mvm needs.
struct QmpMessage {
  enum class Kind { kGreeting, kReturn, kError, kEvent } kind = Kind::kEvent;
  std::uint64_t id = 0;  // kReturn, kError
  std::string name;      // kEvent: its name; kError: the description
  std::string reason;    // kEvent SHUTDOWN: "guest-shutdown", "guest-reset", "guest-panic", …
};

// Pure. Errors: kCorrupt when the line is not a QMP message.
Result<QmpMessage> parse_qmp(std::string_view line);

class Qmp {
 public:
  static constexpr std::size_t kMaxLine = 1024 * 1024;
  using EventHandler = std::function<void(const QmpMessage&)>;

  Qmp(sys::EventLoop& loop, sys::UniqueFd fd, EventHandler on_event)
      : loop_(loop), fd_(std::move(fd)), on_event_(std::move(on_event)) {}
  ~Qmp();
  Qmp(const Qmp&) = delete;
  Qmp& operator=(const Qmp&) = delete;

  // Starts the handshake; commands may be given right away and are sent after it.
  Result<> start();
  // Takes what QEMU has sent so far; called by the loop, and once more when the engine has ended.
  void receive();
  // A command without arguments. `done` hears its answer, or that QEMU has gone; it may be empty:
  // an error is then only logged.
  using Done = std::function<void(Result<>)>;
  void execute(std::string_view command, Done done = {});

 private:
  void handle(const QmpMessage& message);
  void answer(const QmpMessage& message);
  void fail_all();
  void transmit(const std::string& line);

  sys::EventLoop& loop_;
  sys::UniqueFd fd_;
  EventHandler on_event_;
  std::string buffer_;
  std::string waiting_;  // commands given before the handshake was over
  std::uint64_t next_id_ = 1;
  struct Command {
    std::string name;
    Done done;
  };
  std::map<std::uint64_t, Command> open_;  // not answered yet
  bool ready_ = false;
};

}  // namespace mvm::backend::qemu
