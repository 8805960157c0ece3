// SPDX-License-Identifier: Apache-2.0
#include "agent/services/health_check.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>

#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::agent::services {
namespace {

constexpr Millis kFirstHurry{50};
constexpr std::size_t kStatusLine = sizeof "HTTP/1.1 200" - 1;

Millis millis(std::uint32_t count) { return Millis(std::int64_t{count}); }

}  // namespace

HealthCheck::HealthCheck(sys::EventLoop& loop, wire::HealthRequest request, Handlers handlers)
    : loop_(loop),
      request_(std::move(request)),
      handlers_(std::move(handlers)),
      hurry_(kFirstHurry) {
  timer_ = loop_.after(Millis(0), [this] { probe(); });
}

HealthCheck::~HealthCheck() {
  if (timer_) loop_.cancel(*timer_);
  close_socket();
  if (pid_ > 0) ::kill(-pid_, SIGKILL);
}

void HealthCheck::close_socket() {
  if (!socket_) return;
  loop_.remove(socket_.get());
  socket_.reset();
}

void HealthCheck::probe() {
  timer_ = loop_.after(millis(request_.timeout_ms), [this] {
    timer_.reset();
    if (pid_ > 0) ::kill(-pid_, SIGKILL);
    pid_ = 0;
    finish("the check took longer than " + format_duration(millis(request_.timeout_ms)));
  });
  if (request_.argv.empty()) return connect();
  auto started = handlers_.start(request_.argv);
  if (!started) return finish(started.error().text());
  pid_ = *started;
}

bool HealthCheck::on_exit(pid_t pid, int wait_status) {
  if (pid_ == 0 || pid != pid_) return false;
  pid_ = 0;
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) {
    finish(std::nullopt);
  } else {
    finish(WIFEXITED(wait_status)
               ? "the check ended with exit code " + std::to_string(WEXITSTATUS(wait_status))
               : "the check was ended by signal " + std::to_string(WTERMSIG(wait_status)));
  }
  return true;
}

void HealthCheck::connect() {
  auto socket = sys::connect_tcp_start({"127.0.0.1", request_.port});
  if (!socket) return finish(socket.error().text());
  socket_ = std::move(*socket);
  answer_.clear();
  if (auto added = loop_.add(socket_.get(), EPOLLOUT, [this](std::uint32_t) { on_connected(); });
      !added)
    finish(added.error().text());
}

void HealthCheck::on_connected() {
  if (const int errnum = sys::socket_error(socket_.get()); errnum != 0)
    return finish(
        Error::from_errno("connect to port " + std::to_string(request_.port), errnum).text());
  if (request_.http_path.empty()) return finish(std::nullopt);
  const std::string text = "GET " + request_.http_path +
                           " HTTP/1.1\r\nHost: localhost:" + std::to_string(request_.port) +
                           "\r\nUser-Agent: mvm\r\nConnection: close\r\n\r\n";
  // It fits into an empty socket.
  if (auto sent = sys::write_full(socket_.get(), text); !sent) return finish(sent.error().text());
  const int fd = socket_.get();
  loop_.remove(fd);
  if (auto added = loop_.add(fd, EPOLLIN, [this](std::uint32_t) { on_answer(); }); !added)
    finish(added.error().text());
}

void HealthCheck::on_answer() {
  std::array<std::byte, 256> chunk;
  const auto count = sys::read_some(socket_.get(), chunk);
  if (!count && count.error().errnum() == EAGAIN) return;
  if (!count) return finish(count.error().text());
  answer_.append(reinterpret_cast<const char*>(chunk.data()), *count);
  if (answer_.size() < kStatusLine && *count > 0) return;
  const bool is_http = answer_.size() >= kStatusLine && answer_.starts_with("HTTP/1.");
  if (!is_http) return finish("the answer is not HTTP");
  const std::string status = answer_.substr(kStatusLine - 3, 3);
  if (status.front() == '2' || status.front() == '3') return finish(std::nullopt);
  std::ranges::replace_if(answer_, [](char c) { return c < ' ' || c > '~'; }, ' ');
  finish("it answers with status " + answer_.substr(kStatusLine - 3, 3));
}

void HealthCheck::finish(const std::optional<std::string>& failure) {
  if (timer_) loop_.cancel(*timer_);
  close_socket();
  const Millis interval = millis(request_.interval_ms);
  wire::Health health = health_;
  if (!failure) {
    failures_ = 0;
    was_healthy_ = true;
    health = wire::Health::kHealthy;
  } else {
    const Millis grace = std::max(millis(request_.start_period_ms), interval);
    const bool counts = was_healthy_ || Clock::now() - began_ >= grace;
    if (counts && ++failures_ >= request_.retries) health = wire::Health::kUnhealthy;
  }
  Millis next = interval;
  if (!was_healthy_) {
    next = std::min(interval, hurry_);
    hurry_ *= 2;
  }
  timer_ = loop_.after(next, [this] { probe(); });
  if (health == health_) return;
  health_ = health;
  handlers_.on_change(health, failure.value_or(""));
}

}  // namespace mvm::agent::services
