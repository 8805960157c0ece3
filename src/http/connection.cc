// SPDX-License-Identifier: Apache-2.0
#include "http/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <span>

#include "sys/io.h"

namespace mvm::http {
namespace {

constexpr std::size_t kReadChunk = 16 * 1024;

}  // namespace

Connection::Connection(sys::EventLoop& loop, sys::UniqueFd fd, const ServerOptions& options,
                       Calls calls)
    : loop_(loop),
      fd_(std::move(fd)),
      options_(options),
      calls_(std::move(calls)),
      parser_(Parser::Kind::kRequest, options.limits) {}

Connection::~Connection() {
  if (drain_timer_ != 0) loop_.cancel(drain_timer_);
  if (fd_) loop_.remove(fd_.get());
}

Result<> Connection::start() {
  MVM_TRY(sys::set_nonblocking(fd_.get(), true));
  interest_ = EPOLLIN;
  return loop_.add(fd_.get(), interest_, [this](std::uint32_t events) { on_events(events); });
}

void Connection::on_events(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) flush();
  if ((events & EPOLLIN) != 0 && wants_input()) {
    read_input();
    process_input();
  }
  // Both directions are closed: nobody reads an answer. A client that has only ended its own side
  // (EPOLLIN with 0 bytes) still gets it.
  if (phase_ != Phase::kClosed && (events & (EPOLLHUP | EPOLLERR)) != 0) return close();
  update();
}

bool Connection::all_sent() const { return sent_ == output_.size(); }

// A client that does not read its answers is not read from either.
bool Connection::wants_input() const {
  if (input_ended_) return false;
  return phase_ == Phase::kDraining || (phase_ == Phase::kReading && all_sent());
}

void Connection::read_input() {
  std::array<std::byte, kReadChunk> chunk;
  const Result<std::size_t> count = sys::read_some(fd_.get(), chunk);
  if (!count) {
    if (count.error().errnum() != EAGAIN) close();
    return;
  }
  if (*count == 0) input_ended_ = true;
  if (phase_ == Phase::kReading) input_.append(reinterpret_cast<const char*>(chunk.data()), *count);
}

// Parses what has been read, up to the request that has to be answered first.
void Connection::process_input() {
  if (processing_) return;
  processing_ = true;
  while (phase_ == Phase::kReading && all_sent() && !input_.empty()) {
    const Result<std::size_t> used = parser_.feed(input_);
    if (!used) {
      refuse(used.error());
      break;
    }
    input_.erase(0, *used);
    if (!parser_.done()) {
      if (parser_.take_expects_continue()) send("HTTP/1.1 100 Continue\r\n\r\n");
      break;
    }
    Request request = parser_.take_request();
    keep_alive_ = request.keep_alive;
    phase_ = Phase::kHandling;
    calls_.request(std::move(request));  // may answer at once
  }
  processing_ = false;
  // The end, after everything that came before it was answered.
  const bool nothing_left = phase_ == Phase::kReading ? input_.empty() : phase_ == Phase::kDraining;
  if (nothing_left && input_ended_ && all_sent()) close();
}

void Connection::refuse(const Error& error) {
  keep_alive_ = false;
  input_.clear();
  phase_ = Phase::kDraining;
  send(serialize(error_response(400, error.message()), options_.server_name, false));
}

void Connection::respond(const Response& response) {
  if (phase_ != Phase::kHandling) return;
  phase_ = keep_alive_ ? Phase::kReading : Phase::kDraining;
  send(serialize(response, options_.server_name, keep_alive_));
  update();
}

void Connection::send(std::string_view bytes) {
  output_ += bytes;
  flush();
}

void Connection::flush() {
  while (phase_ != Phase::kClosed && !all_sent()) {
    const ssize_t count =
        ::send(fd_.get(), output_.data() + sent_, output_.size() - sent_, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) return close();
    sent_ += static_cast<std::size_t>(count);
  }
  output_.clear();
  sent_ = 0;
  if (phase_ == Phase::kDraining) begin_draining();
  process_input();
}

void Connection::begin_draining() {
  if (input_ended_) return close();
  if (drain_timer_ != 0) return;
  ::shutdown(fd_.get(), SHUT_WR);
  drain_timer_ = loop_.after(options_.drain_time, [this] {
    drain_timer_ = 0;
    close();
  });
}

void Connection::update() {
  if (phase_ == Phase::kClosed) return;
  const std::uint32_t wanted = (wants_input() ? static_cast<std::uint32_t>(EPOLLIN) : 0U) |
                               (!all_sent() ? static_cast<std::uint32_t>(EPOLLOUT) : 0U);
  if (wanted == interest_) return;
  interest_ = wanted;
  if (!loop_.modify(fd_.get(), wanted)) close();
}

void Connection::close() {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  loop_.remove(fd_.get());
  calls_.closed();
}

}  // namespace mvm::http
