// SPDX-License-Identifier: Apache-2.0
// A guest for tests: the far end of a Client, which does what a test tells it and remembers what it
// was sent.
#pragma once

#include <signal.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent_client/client.h"
#include "sys/event_loop.h"
#include "sys/socket.h"
#include "wire/link.h"

namespace mvm::agent_client::testing_guest {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}
inline std::string text_of(std::span<const std::byte> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// A frame that was received, with a copy of its payload.
struct Seen {
  std::uint32_t stream = 0;
  wire::FrameType type = wire::FrameType::kData;
  std::uint8_t channel = 0;
  std::string payload;
};

// Both ends of one connection in one loop.
class Guest {
 public:
  explicit Guest(const wire::VmState& state = {wire::VmPhase::kReady, 0, "", ""}) {
    ::signal(SIGPIPE, SIG_IGN);
    sys::SocketPair pair = sys::make_socket_pair().value();
    link_ = std::make_unique<wire::Link>(
        loop, std::move(pair.second),
        wire::Link::Handlers{
            [this](const wire::Frame& frame) { return take(frame); },
            [this](std::optional<Error> error) { ended = error ? error->text() : "end of file"; },
            {}});
    client = Client::attach(loop, std::move(pair.first)).value();
    (void)link_->start();
    link_->send_control(wire::FrameType::kHello,
                        wire::encode(wire::Hello{wire::kProtocolVersion, "test", ""}));
    send_state(state);
  }

  void send_state(const wire::VmState& state) {
    link_->send_control(wire::FrameType::kState, wire::encode(state));
  }
  void send(std::uint32_t stream, wire::FrameType type, std::uint8_t channel = 0,
            std::string_view payload = {}) {
    link_->send(stream, type, channel, bytes_of(payload));
  }
  void output(std::uint32_t stream, std::string_view text) {
    send(stream, wire::FrameType::kData, wire::kStdout, text);
  }
  void errors(std::uint32_t stream, std::string_view text) {
    send(stream, wire::FrameType::kData, wire::kStderr, text);
  }
  void credit(std::uint32_t stream, std::uint8_t channel, std::uint32_t bytes) {
    link_->send(stream, wire::FrameType::kCredit, channel, wire::encode_u32(bytes));
  }
  void close(std::uint32_t stream, const wire::Closed& closed = {}) {
    link_->send(stream, wire::FrameType::kClosed, 0, wire::encode(closed));
  }
  // Ends the connection once everything has been sent; safe inside on_frame.
  void hang_up() {
    loop.after(Millis(1), [this] {
      if (link_->queued() > 0) return hang_up();
      link_.reset();
    });
  }

  // Runs the loop until the condition holds. False after ten seconds.
  template <class Condition>
  bool until(Condition condition) {
    const Deadline deadline = Deadline::after(Millis(10'000), "the condition");
    while (!condition()) {
      if (!loop.run_once(deadline)) return false;
    }
    return true;
  }
  // The first frame of a type that came, when there is one.
  const Seen* find(wire::FrameType type) const {
    for (const Seen& frame : seen) {
      if (frame.type == type) return &frame;
    }
    return nullptr;
  }
  std::size_t count(wire::FrameType type) const {
    std::size_t out = 0;
    for (const Seen& frame : seen) out += frame.type == type ? 1 : 0;
    return out;
  }

  sys::EventLoop loop = sys::EventLoop::create().value();
  std::unique_ptr<Client> client;
  std::vector<Seen> seen;  // everything but data
  std::string input;       // data of channel stdin, of all streams
  std::string ended;       // how the connection ended, as the guest sees it
  // What the guest does about a frame; called after it has been remembered.
  std::function<void(const Seen&)> on_frame;

 private:
  Result<> take(const wire::Frame& frame) {
    Seen copy{frame.stream, frame.type, frame.channel, text_of(frame.payload)};
    if (frame.type == wire::FrameType::kData)
      input += copy.payload;
    else
      seen.push_back(copy);
    if (on_frame) on_frame(copy);
    return {};
  }
  std::unique_ptr<wire::Link> link_;
};

inline wire::Open exec(std::vector<std::string> argv) {
  wire::Open open;
  open.exec.argv = std::move(argv);
  return open;
}

}  // namespace mvm::agent_client::testing_guest
