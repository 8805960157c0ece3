// SPDX-License-Identifier: Apache-2.0
// The agent as a server: speaks the protocol over one descriptor, owns the streams, reaps every
// child.
//
// It runs as pid 1 of a guest, and for tests as an ordinary process over a socket pair.
#pragma once

#include <functional>
#include <unordered_map>

#include "agent/serve/plans.h"
#include "agent/serve/stream.h"

namespace mvm::agent {

struct ServerOptions {
  bool hello_sent = false;    // the caller has written it already
  std::uint64_t init_us = 0;  // guest uptime at the agent's start
  OverlayDirs overlay;
  Exchange::Open open_exchange;  // empty: the guest has none
  // Applies the host's configuration; an error becomes a fault frame. Yields the workload's cgroup
  // directory, or -1.
  std::function<Result<int>(const wire::Configure&)> configure;
  // Whether the host may have this; empty: it may have everything.
  std::function<Result<>(const wire::Open&)> admit;
  // The guest was held, and it is so late now (ns since the epoch).
  std::function<void(std::uint64_t)> clock;
  // After the last process has gone: syncs and closes the file systems.
  std::function<void()> quiesce;
  // One line for people when something breaks.
  std::function<void(const std::string&)> log;
};

// What our hello says.
wire::Hello our_hello();
// Guest uptime. Units: µs.
std::uint64_t uptime_us();

class Server {
 public:
  Server(sys::EventLoop& loop, sys::UniqueFd fd, ServerOptions options);

  // Serves until the connection ends: nothing, or why it broke. Errors: those of the event loop.
  Result<std::optional<Error>> run();
  // After run(): the outputs of the programs that still run. Whoever closes one may end its writer.
  std::vector<sys::UniqueFd> release_outputs();

 private:
  enum class State { kAwaitHello, kAwaitConfigure, kReady, kShuttingDown };

  Result<> on_frame(const wire::Frame& frame);
  Result<> on_control(const wire::Frame& frame);
  Result<> on_hello(const wire::Frame& frame);
  Result<> on_configure(const wire::Frame& frame);
  Result<> on_shutdown(const wire::Frame& frame);
  Result<> on_open(const wire::Frame& frame);
  Result<std::unique_ptr<Stream>> make_stream(std::uint32_t id, const wire::Open& open);
  void refuse(std::uint32_t stream, wire::Outcome outcome, const Error& error);
  void on_child();
  void on_stream_closed(Stream& stream);
  void signal_everyone(int signum);
  void halt();
  void on_link_writable();
  void on_link_closed(std::optional<Error> error);

  sys::EventLoop& loop_;
  ServerOptions options_;
  wire::Link link_;
  Exchange exchange_;
  sys::UniqueFd signals_;
  State state_ = State::kAwaitHello;
  int cgroup_fd_ = -1;
  std::unordered_map<std::uint32_t, std::unique_ptr<Stream>> streams_;
  std::unordered_map<pid_t, Stream*> by_pid_;
  // Closed streams, destroyed at the next event: they may still be on the call stack.
  std::vector<std::unique_ptr<Stream>> closed_;
  std::optional<sys::EventLoop::TimerId> grace_timer_;
  std::optional<Error> end_;
  bool halted_ = false;
};

}  // namespace mvm::agent
