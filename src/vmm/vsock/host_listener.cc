// SPDX-License-Identifier: Apache-2.0
#include "vmm/vsock/host_listener.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "core/log.h"
#include "sys/socket.h"

namespace mvm::vmm {
namespace {
constexpr Millis kRetry{100};
constexpr int kMostAccepts = 32;  // in one turn of the loop, for the other devices' sake
}  // namespace

Result<> HostListener::start(DeviceHost& host) {
  host_ = &host;
  return host.watch(socket_.fd(), EPOLLIN, [this](std::uint32_t) { on_listener(); });
}

void HostListener::stop() {
  if (host_ == nullptr) return;
  host_->unwatch(socket_.fd());
  if (retrying_) host_->cancel(retry_);
  retrying_ = false;
  for (const auto& [fd, client] : clients_) host_->unwatch(fd);
  clients_.clear();
  host_ = nullptr;
}

void HostListener::on_listener() {
  for (int i = 0; i < kMostAccepts; ++i) {
    Result<sys::UniqueFd> accepted = sys::accept_connection(socket_.fd());
    if (!accepted) {
      const int error = accepted.error().errnum();
      if (error == EAGAIN || error == ECONNABORTED || error == EINTR) return;
      ++metrics_.muxer_event_fails;
      log::warn("vsock: " + accepted.error().text());
      return retry_later();
    }
    if (!calls_.has_room()) {
      log::warn("vsock: connection limit reached, a client of " + path() + " is refused");
      continue;
    }
    const int fd = accepted->get();
    if (!host_->watch(fd, EPOLLIN, [this, fd](std::uint32_t) { on_client(fd); })) {
      ++metrics_.muxer_event_fails;
      continue;
    }
    clients_[fd].socket = std::move(*accepted);
  }
}

// No descriptor is left, say: the event would come again and again.
void HostListener::retry_later() {
  host_->unwatch(socket_.fd());
  retrying_ = true;
  retry_ = host_->after(kRetry, [this] {
    retrying_ = false;
    if (!start(*host_)) ++metrics_.muxer_event_fails;
  });
}

void HostListener::on_client(int fd) {
  const auto it = clients_.find(fd);
  if (it == clients_.end()) return;
  Client& client = it->second;
  const bool alive = read_line(client);
  const std::string_view line(client.line.data(), client.used);
  const bool complete = line.ends_with('\n');
  if (alive && !complete && client.used < kMostLine) return;

  host_->unwatch(fd);
  const auto port = complete ? parse_connect(line.substr(0, line.size() - 1)) : std::nullopt;
  sys::UniqueFd socket = std::move(client.socket);
  clients_.erase(it);
  if (!port) return log::debug("vsock: a client said no CONNECT line");
  calls_.connect(std::move(socket), *port);
}

bool HostListener::read_line(Client& client) {
  const auto room = std::span(client.line).subspan(client.used);
  const int fd = client.socket.get();
  const ssize_t seen = ::recv(fd, room.data(), room.size(), MSG_PEEK | MSG_DONTWAIT);
  if (seen < 0) return errno == EAGAIN || errno == EINTR;
  if (seen == 0) return false;
  const auto peeked = room.first(static_cast<std::size_t>(seen));
  const auto end = std::ranges::find(peeked, '\n');
  const auto wanted =
      static_cast<std::size_t>(end - peeked.begin()) + (end == peeked.end() ? 0 : 1);
  const ssize_t taken = ::recv(fd, room.data(), wanted, MSG_DONTWAIT);
  if (taken < 0) return errno == EAGAIN || errno == EINTR;
  client.used += static_cast<std::size_t>(taken);
  return true;
}

}  // namespace mvm::vmm
