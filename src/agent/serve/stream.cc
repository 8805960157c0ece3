// SPDX-License-Identifier: Apache-2.0
#include "agent/serve/stream.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "sys/io.h"

namespace mvm::agent {
namespace {

// From SIGTERM to SIGKILL after a request's own timeout.
constexpr Millis kKillAfter{2000};

Error malformed(const char* what) {
  return Error(Errc::kGuestFault, std::string("agent protocol: malformed ") + what + " message");
}

}  // namespace

Stream::Stream(sys::EventLoop& loop, wire::Link& link, Exchange& exchange, std::uint32_t id,
               ProcessPlan plan, Millis timeout, std::function<void(Stream&)> on_closed)
    : loop_(loop),
      link_(link),
      id_(id),
      plan_(std::move(plan)),
      timeout_(timeout),
      on_closed_(std::move(on_closed)),
      input_(loop, link, exchange, {id, wire::kStdin}, plan_.tty),
      output_(loop, link, exchange, {id, wire::kStdout}, [this] { close_if_done(); }),
      errors_(loop, link, exchange, {id, wire::kStderr}, [this] { close_if_done(); }) {}

Stream::~Stream() {
  if (timer_) loop_.cancel(*timer_);
}

Result<> Stream::start() {
  Process process = MVM_TRY(start_process(plan_));
  pid_ = process.pid;
  failure_ = process.failure;
  if (failure_) return {};  // closed when the child is reaped
  input_.start(std::move(process.in));
  if (!plan_.builtin)
    link_.send(id_, wire::FrameType::kStarted, 0,
               wire::encode_u32(static_cast<std::uint32_t>(pid_)));
  if (timeout_.count() > 0) timer_ = loop_.after(timeout_, [this] { on_timeout(); });
  output_.start(std::move(process.out));
  if (process.err) errors_.start(std::move(process.err));
  return {};
}

Result<> Stream::on_frame(const wire::Frame& frame) {
  switch (frame.type) {
    case wire::FrameType::kData:
      if (frame.channel != wire::kStdin) return malformed("data");
      return input_.receive(frame.payload);
    case wire::FrameType::kDataAt:
      if (frame.channel != wire::kStdin) return malformed("data-at");
      return input_.receive_at(MVM_TRY(wire::decode_data_at(frame.payload)));
    case wire::FrameType::kEof:
      if (frame.channel != wire::kStdin || !frame.payload.empty()) return malformed("eof");
      return input_.finish();
    case wire::FrameType::kCredit: {
      const std::uint32_t bytes = MVM_TRY(wire::decode_u32(frame.payload));
      if (frame.channel == wire::kStdin) return malformed("credit");
      (frame.channel == wire::kStdout ? output_ : errors_).grant(bytes);
      return {};
    }
    case wire::FrameType::kSignal: {
      const auto number = static_cast<int>(MVM_TRY(wire::decode_u32(frame.payload)));
      if (number < 1 || number >= NSIG) return malformed("signal");
      signal(number);
      return {};
    }
    case wire::FrameType::kResize: {
      const wire::Resize resize = MVM_TRY(wire::decode_resize(frame.payload));
      const winsize size{resize.rows, resize.columns, 0, 0};
      if (plan_.tty && input_.fd() >= 0) ::ioctl(input_.fd(), TIOCSWINSZ, &size);
      return {};
    }
    case wire::FrameType::kCancel:
      cancel();
      return {};
    default:
      return Error(Errc::kGuestFault, "agent protocol: frame type " +
                                          std::to_string(static_cast<int>(frame.type)) +
                                          " is not for a stream");
  }
}

void Stream::on_writable() {
  output_.pump();
  errors_.pump();
}

void Stream::signal(int signum) {
  // After the reaping the number may belong to somebody else.
  if (wait_status_ || pid_ <= 0) return;
  // The group exists from the child's setsid() on.
  if (::kill(-pid_, signum) != 0 && errno == ESRCH) ::kill(pid_, signum);
}

void Stream::release_output(std::vector<sys::UniqueFd>& into) {
  if (plan_.builtin || plan_.tty) return;
  for (OutputPump* pump : {&output_, &errors_}) {
    if (sys::UniqueFd fd = pump->release()) into.push_back(std::move(fd));
  }
}

void Stream::hang_up() {
  if (plan_.tty) signal(SIGHUP);
}

void Stream::on_timeout() {
  timer_.reset();
  signal(timed_out_ ? SIGKILL : SIGTERM);
  signal(SIGCONT);
  if (!timed_out_) timer_ = loop_.after(kKillAfter, [this] { on_timeout(); });
  timed_out_ = true;
}

void Stream::cancel() {
  if (cancelled_) return;
  cancelled_ = true;
  signal(SIGHUP);
  signal(SIGKILL);
  output_.drop();
  errors_.drop();
  input_.drop();
  close_if_done();
}

void Stream::before_reap() {
  // A process that did not outlive its time leaves nobody of its group behind.
  if (timed_out_ || cancelled_) ::kill(-pid_, SIGKILL);
}

void Stream::on_reaped(int status) {
  wait_status_ = status;
  if (timer_) loop_.cancel(*timer_);
  timer_.reset();
  input_.drop();
  output_.process_ended();
  errors_.process_ended();
  close_if_done();
}

wire::Closed Stream::verdict() const {
  using wire::Outcome;
  if (failure_) return {Outcome::kNotStarted, failure_->errnum, describe(*failure_, plan_)};
  if (cancelled_) return {Outcome::kCancelled, 0, ""};
  if (timed_out_) return {Outcome::kTimedOut, 0, "did not end within " + format_duration(timeout_)};
  if (WIFSIGNALED(*wait_status_)) return {Outcome::kSignalled, WTERMSIG(*wait_status_), ""};
  return {Outcome::kExited, WEXITSTATUS(*wait_status_), ""};
}

void Stream::close_if_done() {
  if (closed_ || !wait_status_ || !output_.done() || !errors_.done()) return;
  closed_ = true;
  link_.send(id_, wire::FrameType::kClosed, 0, wire::encode(verdict()));
  on_closed_(*this);
}

}  // namespace mvm::agent
