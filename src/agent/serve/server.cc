// SPDX-License-Identifier: Apache-2.0
#include "agent/serve/server.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/process/exec.h"
#include "sys/io.h"
#include "sys/signals.h"

namespace mvm::agent {
namespace {

// As pid 1 every process of the guest is ours; as an ordinary process only the streams' are.
bool is_init() { return ::getpid() == 1; }

Error unexpected(const wire::Frame& frame) {
  return Error(Errc::kGuestFault, "agent protocol: frame type " +
                                      std::to_string(static_cast<int>(frame.type)) +
                                      " was not expected now");
}

}  // namespace

wire::Hello our_hello() {
  utsname name;
  wire::Hello hello;
  hello.software = "mvm-agent " MVM_VERSION;
  if (::uname(&name) == 0) hello.system = std::string(name.release) + " " + name.machine;
  return hello;
}

std::uint64_t uptime_us() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec) / 1000;
}

Server::Server(sys::EventLoop& loop, sys::UniqueFd fd, ServerOptions options)
    : loop_(loop),
      options_(std::move(options)),
      link_(loop, std::move(fd),
            {[this](const wire::Frame& frame) { return on_frame(frame); },
             [this](std::optional<Error> error) { on_link_closed(std::move(error)); },
             [this] { on_link_writable(); }}),
      exchange_(options_.open_exchange) {}

Result<std::optional<Error>> Server::run() {
  ::signal(SIGPIPE, SIG_IGN);
  signals_ = MVM_TRY(sys::signal_fd({SIGCHLD}));
  MVM_TRY(loop_.add(signals_.get(), EPOLLIN, [this](std::uint32_t) { on_child(); }));
  MVM_TRY(link_.start());
  if (!options_.hello_sent) link_.send_control(wire::FrameType::kHello, wire::encode(our_hello()));
  auto done = loop_.run();
  loop_.remove(signals_.get());
  if (!done) return done.error();
  return std::move(end_);
}

std::vector<sys::UniqueFd> Server::release_outputs() {
  std::vector<sys::UniqueFd> out;
  for (const auto& [id, stream] : streams_) stream->release_output(out);
  return out;
}

Result<> Server::on_frame(const wire::Frame& frame) {
  closed_.clear();
  Result<> done = frame.stream == 0 ? on_control(frame) : Result<>();
  if (frame.stream != 0) {
    const auto it = streams_.find(frame.stream);
    if (frame.type < wire::FrameType::kOpen) {
      done = unexpected(frame);
    } else if (frame.type == wire::FrameType::kOpen) {
      done = on_open(frame);
    } else if (it != streams_.end()) {
      done = it->second->on_frame(frame);
    }  // else: it closed while the host's frame was under way
  }
  if (!done) {
    const std::string text = done.error().text();
    link_.send(0, wire::FrameType::kFault, 0, std::as_bytes(std::span(text)));
  }
  return done;
}

Result<> Server::on_control(const wire::Frame& frame) {
  switch (frame.type) {
    case wire::FrameType::kHello:
      return on_hello(frame);
    case wire::FrameType::kConfigure:
      return on_configure(frame);
    case wire::FrameType::kShutdown:
      return on_shutdown(frame);
    case wire::FrameType::kPing:
      if (frame.payload.size() != sizeof(std::uint64_t)) return unexpected(frame);
      link_.send(0, wire::FrameType::kPong, 0, frame.payload);
      return {};
    case wire::FrameType::kClock: {
      const std::uint64_t now_ns = MVM_TRY(wire::decode_u64(frame.payload));
      if (options_.clock) options_.clock(now_ns);
      return {};
    }
    case wire::FrameType::kTaken:
      return exchange_.taken(MVM_TRY(wire::decode_u32(frame.payload)));
    default:
      return unexpected(frame);
  }
}

Result<> Server::on_hello(const wire::Frame& frame) {
  if (state_ != State::kAwaitHello) return unexpected(frame);
  MVM_TRY(wire::decode_hello(frame.payload));
  state_ = State::kAwaitConfigure;
  return {};
}

Result<> Server::on_configure(const wire::Frame& frame) {
  if (state_ != State::kAwaitConfigure) return unexpected(frame);
  const wire::Configure configure = MVM_TRY(wire::decode_configure(frame.payload));
  if (options_.configure)
    cgroup_fd_ = MVM_TRY_CTX(options_.configure(configure), "configuring the guest");
  state_ = State::kReady;
  loop_.defer(&exchange_, [this] { exchange_.prepare(); });  // behind what follows: the host waits
  link_.send_control(wire::FrameType::kReady,
                     wire::encode(wire::Ready{options_.init_us, uptime_us()}));
  return {};
}

void Server::refuse(std::uint32_t stream, wire::Outcome outcome, const Error& error) {
  const int code = error.errnum() != 0 ? error.errnum() : EINVAL;
  link_.send(stream, wire::FrameType::kClosed, 0,
             wire::encode(wire::Closed{outcome, code, error.text().substr(0, 4096)}));
}

Result<> Server::on_open(const wire::Frame& frame) {
  if (state_ < State::kReady || streams_.contains(frame.stream)) return unexpected(frame);
  const auto refuse_limit = [&](const char* why) {
    refuse(frame.stream, wire::Outcome::kRefused, Error(Errc::kLimit, why));
    return Result<>();
  };
  if (state_ == State::kShuttingDown) return refuse_limit("the guest is shutting down");
  if (streams_.size() >= wire::kMaxStreams)
    return refuse_limit("too many streams are open in the guest");
  const auto open = wire::decode_open(frame.payload);
  if (!open) {
    refuse(frame.stream, wire::Outcome::kRefused, open.error());
    return {};
  }
  if (options_.admit) {
    if (auto admitted = options_.admit(*open); !admitted) {
      refuse(frame.stream, wire::Outcome::kRefused, admitted.error());
      return {};
    }
  }
  auto stream = make_stream(frame.stream, *open);
  if (!stream) {
    refuse(frame.stream, wire::Outcome::kNotStarted, stream.error());
    return {};
  }
  by_pid_[(*stream)->pid()] = stream->get();
  streams_[frame.stream] = std::move(*stream);
  return {};
}

Result<std::unique_ptr<Stream>> Server::make_stream(std::uint32_t id, const wire::Open& open) {
  const bool exec = open.kind == wire::OpenKind::kExec;
  ProcessPlan plan =
      exec ? MVM_TRY(plan_exec(open.exec)) : plan_builtin(open, options_.overlay, cgroup_fd_);
  Millis timeout{0};
  if (exec) {
    plan.cgroup_fd = cgroup_fd_;
    // Longer than the clock can count is as good as a year.
    timeout = Millis(static_cast<std::int64_t>(
        std::min<std::uint64_t>(open.exec.timeout_ms, 365ULL * 86'400'000)));
  }
  auto stream = std::make_unique<Stream>(loop_, link_, exchange_, id, std::move(plan), timeout,
                                         [this](Stream& closed) { on_stream_closed(closed); });
  MVM_TRY(stream->start());
  return stream;
}

void Server::on_child() {
  closed_.clear();
  while (sys::read_signal(signals_.get())) {
  }
  for (;;) {
    siginfo_t info{};
    const int found = ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
    if (found != 0 && errno == ECHILD && state_ == State::kShuttingDown) return halt();
    if (found != 0 || info.si_pid == 0) return;
    const auto it = by_pid_.find(info.si_pid);
    Stream* stream = it == by_pid_.end() ? nullptr : it->second;
    if (stream != nullptr) stream->before_reap();
    int status = 0;
    ::waitpid(info.si_pid, &status, 0);
    if (stream == nullptr) continue;  // an orphan of the workload
    by_pid_.erase(it);
    stream->on_reaped(status);
  }
}

// A stream may close while it is pumped and leaves the table then; the object lives on in closed_.
void Server::on_link_writable() {
  std::vector<Stream*> streams;
  for (const auto& [id, stream] : streams_) streams.push_back(stream.get());
  for (Stream* stream : streams) stream->on_writable();
}

void Server::on_stream_closed(Stream& stream) {
  const auto it = streams_.find(stream.id());
  if (it == streams_.end()) return;
  closed_.push_back(std::move(it->second));
  streams_.erase(it);
}

void Server::signal_everyone(int signum) {
  if (is_init()) {
    ::kill(-1, signum);
  } else {
    for (const auto& [id, stream] : streams_) stream->signal(signum);
  }
}

Result<> Server::on_shutdown(const wire::Frame& frame) {
  const wire::Shutdown request = MVM_TRY(wire::decode_shutdown(frame.payload));
  if (state_ == State::kShuttingDown) return {};
  state_ = State::kShuttingDown;
  signal_everyone(request.signal);
  signal_everyone(SIGCONT);
  // Interactive shells ignore SIGTERM; what ends them is the loss of their terminal.
  for (const auto& [id, stream] : streams_) stream->hang_up();
  grace_timer_ = loop_.after(Millis(request.grace_ms), [this] { signal_everyone(SIGKILL); });
  on_child();
  return {};
}

void Server::halt() {
  if (halted_) return;
  halted_ = true;
  if (grace_timer_) loop_.cancel(*grace_timer_);
  if (options_.quiesce) options_.quiesce();
  link_.send(0, wire::FrameType::kHalted, 0, {});
}

void Server::on_link_closed(std::optional<Error> error) {
  end_ = std::move(error);
  if (options_.log && end_) options_.log(end_->text());
  loop_.stop();
}

}  // namespace mvm::agent
