// SPDX-License-Identifier: Apache-2.0
#include "agent/services/listeners.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>

#include "sys/io.h"

namespace mvm::agent::services {
namespace {

constexpr std::uint32_t kIn = EPOLLIN;
constexpr std::size_t kHighWater = std::size_t{256} << 10;

}  // namespace

Listeners::~Listeners() {
  for (Listener& listener : listeners_) {
    if (!listener.gone) loop_.remove(listener.fd.get());
  }
}

Result<> Listeners::add(sys::UniqueFd fd, bool is_socket, const std::string& first) {
  MVM_TRY(sys::set_nonblocking(fd.get(), true));
  Listener& listener = listeners_.emplace_back();
  listener.fd = std::move(fd);
  listener.is_socket = is_socket;
  listener.queue = first;
  MVM_TRY(loop_.add(listener.fd.get(), is_socket ? kIn : 0,
                    [this, &listener](std::uint32_t events) { on_event(listener, events); }));
  send(listener);
  return {};
}

void Listeners::tell(const std::string& record) {
  for (Listener& listener : listeners_) {
    const bool was_empty = listener.queue.empty();
    listener.queue += record;
    if (was_empty) send(listener);
  }
}

bool Listeners::congested() const {
  return std::ranges::any_of(listeners_, [](const Listener& listener) {
    return !listener.gone && listener.queue.size() > kHighWater;
  });
}

bool Listeners::idle() const {
  return std::ranges::all_of(
      listeners_, [](const Listener& listener) { return listener.gone || listener.queue.empty(); });
}

void Listeners::on_event(Listener& listener, std::uint32_t events) {
  if (listener.is_socket && (events & EPOLLIN) != 0) {
    std::array<std::byte, 16> words;
    const auto count = sys::read_some(listener.fd.get(), words);
    if (count && *count > 0) return on_word_();
    if (count || count.error().errnum() != EAGAIN) return drop(listener);
  }
  const bool was_congested = congested();
  if ((events & EPOLLOUT) != 0) send(listener);
  // A pipe without a reader tells so.
  else if ((events & (EPOLLERR | EPOLLHUP)) != 0)
    drop(listener);
  if (was_congested && !congested()) on_drained_();
}

void Listeners::send(Listener& listener) {
  if (listener.gone) return;
  while (!listener.queue.empty()) {
    const auto sent = sys::write_some(listener.fd.get(), std::as_bytes(std::span(listener.queue)));
    if (!sent && sent.error().errnum() == EAGAIN) break;
    if (!sent) return drop(listener);
    listener.queue.erase(0, *sent);
  }
  const std::uint32_t in = listener.is_socket ? kIn : 0;
  (void)loop_.modify(listener.fd.get(), listener.queue.empty() ? in : in | EPOLLOUT);
}

// The object stays until nobody walks the list.
void Listeners::drop(Listener& listener) {
  if (listener.gone) return;
  loop_.remove(listener.fd.get());
  listener.fd.reset();
  listener.queue.clear();
  listener.gone = true;
  loop_.defer(this, [this] { sweep(); });
}

void Listeners::sweep() {
  listeners_.remove_if([](const Listener& listener) { return listener.gone; });
  on_drained_();
}

}  // namespace mvm::agent::services
