// SPDX-License-Identifier: Apache-2.0
// For tests: the host's side of the protocol, and an agent as a forked process at the other end of
// a socket pair.
#pragma once

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agent/serve/server.h"
#include "sys/event_loop.h"
#include "sys/sha256.h"
#include "sys/socket.h"

namespace mvm::agent {

struct Reply {
  bool started = false;
  pid_t pid = 0;
  bool closed = false;
  wire::Closed result;
  std::string out;
  std::string err;
};

class TestHost {
 public:
  // `pids`-like options of the server may be set before the agent is forked. With a `send_buffer`
  // the agent can send about that many bytes until we read.
  explicit TestHost(wire::Hello hello = {}, ServerOptions options = {}, int send_buffer = 0)
      : loop_(sys::EventLoop::create().value()) {
    ::signal(SIGPIPE, SIG_IGN);  // as every program of mvm: an agent that hangs up is an error
    auto pair = sys::make_socket_pair().value();
    if (send_buffer > 0)
      ::setsockopt(pair.second.get(), SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    agent_ = ::fork();
    if (agent_ == 0) {
      pair.first.reset();
      auto loop = sys::EventLoop::create().value();
      Server server(loop, std::move(pair.second), std::move(options));
      const auto end = server.run();
      ::_exit(end && !*end ? 0 : 3);
    }
    pair.second.reset();
    wire::Link::Handlers handlers;
    handlers.on_frame = [this](const wire::Frame& frame) { return on_frame(frame); };
    handlers.on_closed = [this](std::optional<Error>) { ended = true; };
    link = std::make_unique<wire::Link>(loop_, std::move(pair.first), std::move(handlers));
    (void)link->start();
    link->send_control(wire::FrameType::kHello, wire::encode(hello));
    link->send_control(wire::FrameType::kConfigure, wire::encode(wire::Configure{}));
  }
  ~TestHost() {
    link.reset();
    ::kill(agent_, SIGKILL);
    ::waitpid(agent_, nullptr, 0);
  }

  // Runs the loop until the condition holds; false after 30 s.
  bool until(const std::function<bool()>& done) {
    const Deadline deadline = Deadline::after(Millis(30'000), "test");
    while (!done() && !deadline.passed()) (void)loop_.run_once(deadline);
    return done();
  }

  std::uint32_t open(const wire::Open& request) {
    const std::uint32_t id = next_++;
    streams_[id];
    link->send(id, wire::FrameType::kOpen, 0, wire::encode(request));
    return id;
  }
  std::uint32_t exec(std::vector<std::string> argv) {
    wire::ExecRequest request;
    request.argv = std::move(argv);
    return exec(std::move(request));
  }
  std::uint32_t exec(wire::ExecRequest request) {
    wire::Open open_request;
    open_request.exec = std::move(request);
    return open(open_request);
  }
  void data(std::uint32_t id, std::string_view bytes) {
    link->send(id, wire::FrameType::kData, wire::kStdin, std::as_bytes(std::span(bytes)));
  }
  void eof(std::uint32_t id) { link->send(id, wire::FrameType::kEof, wire::kStdin, {}); }
  void signal(std::uint32_t id, int number) {
    link->send(id, wire::FrameType::kSignal, 0,
               wire::encode_u32(static_cast<std::uint32_t>(number)));
  }

  Reply& stream(std::uint32_t id) { return streams_[id].reply; }
  Reply wait(std::uint32_t id) {
    until([&] { return streams_[id].reply.closed || ended; });
    return streams_[id].reply;
  }
  Reply run(const wire::Open& request, std::string_view input = {}) {
    const std::uint32_t id = open(request);
    if (!input.empty()) data(id, input);
    eof(id);
    return wait(id);
  }
  Reply run(std::vector<std::string> argv, std::string_view input = {}) {
    wire::Open request;
    request.exec.argv = std::move(argv);
    return run(request, input);
  }
  Reply sh(const std::string& script) { return run(std::vector<std::string>{"sh", "-c", script}); }
  Reply file(wire::OpenKind kind, const std::string& path, std::string_view input = {}) {
    wire::Open request;
    request.kind = kind;
    request.file.path = path;
    return run(request, input);
  }

  // Sends `total` bytes of a pattern as the window allows, then the end; the output is hashed, not
  // kept.
  std::string stream_through(std::uint32_t id, std::uint64_t total, sys::Sha256& sent) {
    State& state = streams_[id];
    sys::Sha256 received;
    state.sink = [&received](std::span<const std::byte> bytes) { received.update(bytes); };
    std::string block(wire::kMaxDataChunk, '\0');
    std::uint64_t seed = 1;
    while (total > 0) {
      for (char& c : block)
        c = static_cast<char>((seed = seed * 6364136223846793005ULL + 1442695040888963407ULL) >>
                              56);
      until([&] { return state.window >= block.size(); });
      const std::string_view part =
          std::string_view(block).substr(0, std::min<std::uint64_t>(block.size(), total));
      sent.update(part);
      data(id, part);
      state.window -= static_cast<std::uint32_t>(part.size());
      total -= part.size();
    }
    eof(id);
    wait(id);
    state.sink = nullptr;
    return received.finish();
  }

  // What may still be sent to the stream, by what was told with spend() and granted.
  std::uint32_t window(std::uint32_t id) { return streams_[id].window; }
  void spend(std::uint32_t id, std::uint32_t bytes) { streams_[id].window -= bytes; }

  // Resident memory of the agent. Units: KiB.
  long agent_memory() const {
    std::ifstream status("/proc/" + std::to_string(agent_) + "/status");
    std::string word;
    while (status >> word && word != "VmRSS:") {
    }
    long kib = 0;
    status >> kib;
    return kib;
  }
  pid_t agent() const { return agent_; }

  std::unique_ptr<wire::Link> link;
  bool ended = false;
  bool ready = false;
  bool halted = false;
  bool grants = true;  // false: a reader that has stopped
  int exchange = -1;   // memory of the exchange disk
  bool tells_taken = true;
  std::uint64_t by_disk = 0;         // bytes that came over it
  std::vector<std::uint32_t> slots;  // where they lay
  std::string fault;
  std::uint64_t pongs = 0;

 private:
  struct State {
    Reply reply;
    std::uint32_t window = wire::kInputWindow;
    std::array<std::uint32_t, 3> consumed{};
    std::function<void(std::span<const std::byte>)> sink;
  };

  Result<> on_frame(const wire::Frame& frame) {
    if (frame.stream == 0) return on_control(frame);
    State& state = streams_[frame.stream];
    switch (frame.type) {
      case wire::FrameType::kStarted:
        state.reply.started = true;
        state.reply.pid = static_cast<pid_t>(MVM_TRY(wire::decode_u32(frame.payload)));
        break;
      case wire::FrameType::kCredit:
        state.window += MVM_TRY(wire::decode_u32(frame.payload));
        break;
      case wire::FrameType::kData:
        take(state, frame);
        break;
      case wire::FrameType::kDataAt:
        read_exchange(state, frame);
        break;
      case wire::FrameType::kClosed:
        state.reply.result = MVM_TRY(wire::decode_closed(frame.payload));
        state.reply.closed = true;
        break;
      default:
        break;
    }
    return {};
  }
  Result<> on_control(const wire::Frame& frame) {
    if (frame.type == wire::FrameType::kReady) ready = true;
    if (frame.type == wire::FrameType::kHalted) halted = true;
    if (frame.type == wire::FrameType::kPong) ++pongs;
    if (frame.type == wire::FrameType::kFault)
      fault.assign(reinterpret_cast<const char*>(frame.payload.data()), frame.payload.size());
    return {};
  }
  void read_exchange(State& state, const wire::Frame& frame) {
    const wire::DataAt where = wire::decode_data_at(frame.payload).value();
    std::vector<std::byte> bytes(where.length);
    const ssize_t n = ::pread(exchange, bytes.data(), bytes.size(), where.offset);
    bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    by_disk += bytes.size();
    slots.push_back(where.offset);
    take(state, {frame.stream, wire::FrameType::kData, frame.channel, bytes, 0});
    if (tells_taken) link->send(0, wire::FrameType::kTaken, 0, wire::encode_u32(where.offset));
  }
  void take(State& state, const wire::Frame& frame) {
    const std::string_view text(reinterpret_cast<const char*>(frame.payload.data()),
                                frame.payload.size());
    if (state.sink) {
      state.sink(frame.payload);
    } else {
      (frame.channel == wire::kStdout ? state.reply.out : state.reply.err) += text;
    }
    std::uint32_t& consumed = state.consumed[frame.channel];
    consumed += static_cast<std::uint32_t>(text.size());
    if (!grants || consumed < wire::grant_step(frame.channel)) return;
    link->send(frame.stream, wire::FrameType::kCredit, frame.channel,
               wire::encode_u32(std::exchange(consumed, 0)));
  }

  sys::EventLoop loop_;
  pid_t agent_ = -1;
  std::uint32_t next_ = 1;
  std::map<std::uint32_t, State> streams_;
};

}  // namespace mvm::agent
