// SPDX-License-Identifier: Apache-2.0
#include "wire/link.h"

#include <sys/epoll.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>

#include "sys/io.h"

namespace mvm::wire {
namespace {

constexpr std::size_t kReadChunk = 128 * 1024;
// Small frames are gathered into blocks of this size, so that one writev sends many.
constexpr std::size_t kBlock = 128 * 1024;
// One readiness event reads at most this often, so that one busy link cannot starve the others.
constexpr int kReadsPerEvent = 4;

}  // namespace

Link::Link(sys::EventLoop& loop, sys::UniqueFd fd, Handlers handlers)
    : loop_(loop), fd_(std::move(fd)), handlers_(std::move(handlers)) {}

Link::~Link() {
  if (fd_) loop_.remove(fd_.get());
}

Result<> Link::start() {
  MVM_TRY(sys::set_nonblocking(fd_.get(), true));
  interest_ = EPOLLIN;
  return loop_.add(fd_.get(), interest_, [this](std::uint32_t events) { on_events(events); });
}

std::vector<std::byte>& Link::tail() {
  if (queue_.empty() || queue_.back().size() >= kBlock / 2) queue_.emplace_back();
  return queue_.back();
}

void Link::send(std::uint32_t stream, FrameType type, std::uint8_t channel, std::span<const std::byte> payload) {
  if (!open_) return;
  append_frame(tail(), Frame{stream, type, channel, payload});
  queued_ += kHeaderSize + payload.size();
  if (interest_ & EPOLLOUT) return;  // the descriptor was full; it will tell when it is not
  flush();
}

Result<std::size_t> Link::send_from(int fd, std::uint32_t stream, std::uint8_t channel, std::size_t limit) {
  std::vector<std::byte>& block = tail();
  const std::size_t at = block.size();
  block.resize(at + kHeaderSize + limit);
  auto got = sys::read_some(fd, std::span(block).subspan(at + kHeaderSize, limit));
  const std::size_t n = got ? *got : 0;
  if (n == 0) {
    block.resize(at);
    if (block.empty()) queue_.pop_back();
    return got;
  }
  block.resize(at + kHeaderSize + n);
  write_header(std::span<std::byte, kHeaderSize>(block.data() + at, kHeaderSize),
               Frame{stream, FrameType::kData, channel, {}}, static_cast<std::uint32_t>(n));
  queued_ += kHeaderSize + n;
  if (!(interest_ & EPOLLOUT)) flush();
  return n;
}

void Link::flush() {
  while (open_ && !queue_.empty()) {
    std::array<iovec, 16> parts;
    std::size_t count = 0;
    for (auto& block : queue_) {
      if (count == parts.size()) break;
      const std::size_t skip = count == 0 ? head_sent_ : 0;
      parts[count++] = {block.data() + skip, block.size() - skip};
    }
    const ssize_t n = ::writev(fd_.get(), parts.data(), static_cast<int>(count));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return close(Error::from_errno("write to peer"));
    queued_ -= static_cast<std::size_t>(n);
    head_sent_ += static_cast<std::size_t>(n);
    while (!queue_.empty() && head_sent_ >= queue_.front().size()) {
      head_sent_ -= queue_.front().size();
      queue_.pop_front();
    }
  }
  update_interest();
}

void Link::update_interest() {
  if (!open_) return;
  const std::uint32_t want = EPOLLIN | (queue_.empty() ? 0U : EPOLLOUT);
  if (want == interest_) return;
  interest_ = want;
  if (auto done = loop_.modify(fd_.get(), want); !done) close(done.error());
}

void Link::close(std::optional<Error> error) {
  if (!open_) return;
  open_ = false;
  loop_.remove(fd_.get());
  fd_.reset();
  queue_.clear();
  queued_ = 0;
  handlers_.on_closed(std::move(error));
}

Result<bool> Link::read_ready() {
  for (int i = 0; i < kReadsPerEvent && open_; ++i) {
    const auto space = parser_.prepare(kReadChunk);
    const auto got = sys::read_some(fd_.get(), space);
    if (!got && got.error().errnum() == EAGAIN) return true;
    if (!got) return got.error();
    if (*got == 0) return false;
    parser_.commit(*got);
    Frame frame;
    while (open_ && MVM_TRY(parser_.next(frame))) MVM_TRY(handlers_.on_frame(frame));
    if (*got < space.size()) return true;
  }
  return true;
}

void Link::on_events(std::uint32_t events) {
  if (events & EPOLLOUT) {
    was_congested_ = was_congested_ || congested();
    flush();
  }
  if (!open_) return;
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    auto alive = read_ready();
    if (!open_) return;
    if (!alive) return close(alive.error());
    if (!*alive) return close(std::nullopt);
  }
  if (congested()) {
    was_congested_ = true;
  } else if (was_congested_) {
    was_congested_ = false;
    if (handlers_.on_writable) handlers_.on_writable();
  }
}

}  // namespace mvm::wire
