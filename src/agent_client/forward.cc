// SPDX-License-Identifier: Apache-2.0
#include "agent_client/forward.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <functional>
#include <vector>

#include "core/log.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::agent_client {

// One connection: a socket on one side, a stream on the other, each direction ending by itself.
class Forwarder::Relay {
 public:
  Relay(Client& client, sys::UniqueFd socket, std::function<void(Relay*)> on_end)
      : loop_(client.loop()), socket_(std::move(socket)), on_end_(std::move(on_end)) {}
  ~Relay() {
    if (end_timer_ != 0) loop_.cancel(end_timer_);
    if (stream_) stream_->abandon();
    if (interest_ != kNotWatched) loop_.remove(socket_.get());
  }

  Result<> start(Client& client, const std::string& target) {
    wire::Open open;
    open.kind = wire::OpenKind::kConnect;
    open.file.path = target;
    StreamHandlers handlers;
    handlers.on_data = [this](std::uint8_t channel, std::span<const std::byte> bytes) {
      from_guest(channel, bytes);
    };
    handlers.on_eof = [this](std::uint8_t channel) {
      if (channel != wire::kStdout) return;
      guest_done_ = true;
      flush();
    };
    handlers.on_credit = [this] { update(); };
    handlers.on_closed = [this](const wire::Closed&) {
      guest_done_ = closed_ = true;
      flush();
    };
    stream_ = MVM_TRY(client.streams().open(open, std::move(handlers)));
    update();
    return {};
  }

 private:
  static constexpr std::uint32_t kNotWatched = ~0U;

  void from_guest(std::uint8_t channel, std::span<const std::byte> bytes) {
    if (channel == wire::kStderr) {
      log::warn("forward: " +
                std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
      return stream_->consumed(channel, bytes.size());
    }
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
    flush();
  }

  void flush() {
    std::size_t sent = 0;
    while (sent < pending_.size() && !socket_broken_) {
      const ssize_t n =
          ::send(socket_.get(), pending_.data() + sent, pending_.size() - sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0)
        socket_broken_ = true;
      else
        sent += static_cast<std::size_t>(n);
    }
    if (socket_broken_) sent = pending_.size();
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(sent));
    if (sent > 0) stream_->consumed(wire::kStdout, sent);
    if (pending_.empty() && guest_done_ && !write_shut_) {
      write_shut_ = true;
      ::shutdown(socket_.get(), SHUT_WR);
    }
    if (socket_broken_) stream_->cancel();
    if (closed_ && pending_.empty()) {
      // Not here: we are inside a callback of our own stream.
      end_timer_ = loop_.after(Millis(0), [this] { on_end_(this); });
      closed_ = false;
      return;
    }
    update();
  }

  void update() {
    const bool want_read = !host_done_ && stream_->credit() > 0 && !stream_->closed();
    const std::uint32_t want = (want_read ? EPOLLIN : 0U) | (pending_.empty() ? 0U : EPOLLOUT);
    if (want == interest_) return;
    if (want == 0 && interest_ != kNotWatched) {
      loop_.remove(socket_.get());
      interest_ = kNotWatched;
    } else if (want != 0 && interest_ == kNotWatched) {
      if (loop_.add(socket_.get(), want, [this](std::uint32_t events) { on_socket(events); }))
        interest_ = want;
    } else if (want != 0) {
      (void)loop_.modify(socket_.get(), want);
      interest_ = want;
    }
  }

  void on_socket(std::uint32_t events) {
    if (events & EPOLLOUT) flush();
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || host_done_ || stream_->credit() == 0)
      return update();
    std::array<std::byte, wire::kMaxDataChunk> chunk;
    const auto n = sys::read_some(
        socket_.get(), std::span(chunk).first(std::min(chunk.size(), stream_->credit())));
    if (!n && n.error().errnum() == EAGAIN) return;
    if (!n || *n == 0) {
      host_done_ = true;
      stream_->send_eof();
    } else {
      stream_->send(std::span(chunk).first(*n));
    }
    update();
  }

  sys::EventLoop& loop_;
  sys::UniqueFd socket_;
  std::function<void(Relay*)> on_end_;
  std::shared_ptr<Stream> stream_;
  std::vector<std::byte> pending_;  // at most one window: credit is returned as it is written
  std::uint32_t interest_ = kNotWatched;
  sys::EventLoop::TimerId end_timer_ = 0;
  bool host_done_ = false;
  bool guest_done_ = false;
  bool closed_ = false;
  bool write_shut_ = false;
  bool socket_broken_ = false;
};

Forwarder::Forwarder(Client& client, sys::UniqueFd listener, std::string target)
    : client_(client), listener_(std::move(listener)), target_(std::move(target)) {}

Forwarder::~Forwarder() { client_.loop().remove(listener_.get()); }

Result<> Forwarder::start() {
  return client_.loop().add(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept(); });
}

void Forwarder::accept() {
  auto socket = sys::accept_connection(listener_.get());
  if (!socket) return;
  relays_.push_back(std::make_unique<Relay>(client_, std::move(*socket), [this](Relay* ended) {
    relays_.remove_if([ended](const auto& relay) { return relay.get() == ended; });
  }));
  if (auto started = relays_.back()->start(client_, target_); !started) {
    log::warn("forward: " + started.error().text());
    relays_.pop_back();
  }
}

}  // namespace mvm::agent_client
