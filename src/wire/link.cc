// SPDX-License-Identifier: Apache-2.0
#include "wire/link.h"

#include <sys/epoll.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::wire {
namespace {

constexpr std::size_t kReadChunk = 64 * 1024;
constexpr std::size_t kSendBuffer = 1 << 20;
constexpr std::size_t kPage = 4096;
// Of this much, and with nothing queued, the kernel copies faster than we do.
constexpr std::size_t kSendAtOnce = 16 * 1024;
// Small frames are gathered into blocks of this size, so that one writev sends many.
constexpr std::size_t kBlock = 128 * 1024;
constexpr std::size_t kMostSpare = 4;
// A turn's frames wait for its end, unless there are more bytes than this: then the peer may begin
// to read.
constexpr std::size_t kFlushAtOnce = 64 * 1024;
// One readiness event reads at most this much, so that one busy link cannot starve the others.
constexpr std::size_t kReadPerEvent = 512 * 1024;

}  // namespace

class Link::Block {
 public:
  explicit Block(std::size_t capacity) : bytes_(new std::byte[capacity]), capacity_(capacity) {}
  std::size_t size() const { return size_; }
  std::size_t room() const { return capacity_ - size_; }
  const std::byte* data() const { return bytes_.get(); }
  std::span<std::byte> space() { return {bytes_.get() + size_, room()}; }
  void extend(std::size_t count) { size_ += count; }
  void clear() { size_ = 0; }
  std::size_t capacity() const { return capacity_; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t capacity_;
  std::size_t size_ = 0;
};

Link::Link(sys::EventLoop& loop, sys::UniqueFd fd, Handlers handlers)
    : loop_(loop), fd_(std::move(fd)), handlers_(std::move(handlers)) {}

Link::~Link() {
  loop_.cancel_deferred(this);
  if (fd_) loop_.remove(fd_.get());
}

Result<> Link::start() {
  MVM_TRY(sys::set_nonblocking(fd_.get(), true));
  sys::raise_send_buffer(fd_.get(), kSendBuffer);
  interest_ = EPOLLIN;
  return loop_.add(fd_.get(), interest_, [this](std::uint32_t events) { on_events(events); });
}

// The block that takes the next `room` bytes.
Link::Block& Link::tail(std::size_t room) {
  if (!queue_.empty() && queue_.back().room() >= room) return queue_.back();
  if (room <= kBlock && !spare_.empty()) {
    queue_.push_back(std::move(spare_.back()));
    spare_.pop_back();
  } else {
    queue_.emplace_back(std::max(kBlock, room));
  }
  return queue_.back();
}

void Link::drop_front() {
  Block& block = queue_.front();
  if (spare_.size() < kMostSpare && block.capacity() == kBlock) {
    block.clear();
    spare_.push_back(std::move(block));
  }
  queue_.pop_front();
}

void Link::schedule_flush() {
  if (interest_ & EPOLLOUT) return;  // the descriptor was full; it will tell when it is not
  if (queued_ >= kFlushAtOnce) return flush();
  loop_.defer(this, [this] {
    if (!(interest_ & EPOLLOUT)) flush();
  });
}

void Link::send(std::uint32_t stream, FrameType type, std::uint8_t channel,
                std::span<const std::byte> payload) {
  if (!open_ || !writable_) return;
  if (payload.size() >= kSendAtOnce && send_at_once(stream, type, channel, payload)) return;
  Block& block = tail(kHeaderSize + payload.size());
  const auto space = block.space();
  write_header(space.first<kHeaderSize>(), Frame{stream, type, channel, {}},
               static_cast<std::uint32_t>(payload.size()));
  if (!payload.empty()) std::memcpy(space.data() + kHeaderSize, payload.data(), payload.size());
  block.extend(kHeaderSize + payload.size());
  queued_ += kHeaderSize + payload.size();
  schedule_flush();
}

// Without a copy of ours; what the descriptor does not take is queued. False: nothing was done, as
// other frames go first.
bool Link::send_at_once(std::uint32_t stream, FrameType type, std::uint8_t channel,
                        std::span<const std::byte> payload) {
  if (interest_ & EPOLLOUT) return false;
  if (!queue_.empty()) flush();
  if (!open_ || !writable_) return true;
  if (!queue_.empty() || !stage_empty()) return false;
  std::array<std::byte, kHeaderSize> header;
  write_header(header, Frame{stream, type, channel, {}},
               static_cast<std::uint32_t>(payload.size()));
  const std::array<iovec, 2> parts = {
      iovec{header.data(), header.size()},
      iovec{const_cast<std::byte*>(payload.data()), payload.size()}};
  ssize_t n = 0;
  do n = ::writev(fd_.get(), parts.data(), static_cast<int>(parts.size()));
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) n = 0;
  if (n < 0) {
    broken(Error::from_errno("write to peer"));
    return true;
  }
  queue_rest({header, payload}, static_cast<std::size_t>(n));
  return true;
}

// Queues what is not among the first `sent` bytes.
void Link::queue_rest(std::initializer_list<std::span<const std::byte>> parts, std::size_t sent) {
  for (std::span<const std::byte> part : parts) {
    const std::size_t skip = std::min(sent, part.size());
    sent -= skip;
    part = part.subspan(skip);
    if (part.empty()) continue;
    Block& block = tail(part.size());
    std::memcpy(block.space().data(), part.data(), part.size());
    block.extend(part.size());
    queued_ += part.size();
  }
  update_interest();
}

Result<std::size_t> Link::send_from(int fd, std::uint32_t stream, std::uint8_t channel,
                                    std::size_t limit) {
  if (const std::size_t moved = move_from(fd, stream, channel, limit); moved > 0) return moved;
  Block& block = tail(kHeaderSize + limit);
  const auto space = block.space();
  auto got = sys::read_some(fd, space.subspan(kHeaderSize, limit));
  if (!got || *got == 0) {
    return got;  // an empty block at the end of the queue is no harm: flush() passes over it
  }
  if (!open_ || !writable_) return *got;  // nobody takes it
  write_header(space.first<kHeaderSize>(), Frame{stream, FrameType::kData, channel, {}},
               static_cast<std::uint32_t>(*got));
  block.extend(kHeaderSize + *got);
  queued_ += kHeaderSize + *got;
  schedule_flush();
  return *got;
}

// Only when nothing is queued, because the stage goes first. Moves nothing on a link that cannot
// send: the copying way takes the bytes then.
std::size_t Link::move_from(int fd, std::uint32_t stream, std::uint8_t channel, std::size_t limit) {
  if (limit < Stage::kLeast || !open_ || !writable_ || (interest_ & EPOLLOUT)) return 0;
  if (!queue_.empty()) flush();
  if (!open_ || !writable_ || !queue_.empty() || !stage_empty()) return 0;
  if (!stage_) {
    auto made = Stage::create();
    if (!made) return 0;
    stage_.emplace(std::move(*made));
  }
  const std::size_t moved = stage_->fill(fd, stream, channel, limit);
  if (moved > 0) flush();
  return moved;
}

// True when nothing is left in it.
bool Link::drain_stage() {
  if (stage_empty()) return true;
  auto drained = stage_->drain(fd_.get());
  if (drained) return true;
  if (drained.error().errnum() != EAGAIN) broken(drained.error());
  return false;
}

void Link::broken(const Error& error) {
  if (error.errnum() == EPIPE || error.errnum() == ECONNRESET) return stop_writing();
  close(error);
}

void Link::flush() {
  while (open_ && drain_stage() && !queue_.empty()) {
    std::array<iovec, 16> parts;
    std::size_t count = 0;
    for (const Block& block : queue_) {
      if (count == parts.size()) break;
      const std::size_t skip = count == 0 ? head_sent_ : 0;
      parts[count++] = {const_cast<std::byte*>(block.data()) + skip, block.size() - skip};
    }
    const ssize_t n = ::writev(fd_.get(), parts.data(), static_cast<int>(count));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return broken(Error::from_errno("write to peer"));
    queued_ -= static_cast<std::size_t>(n);
    head_sent_ += static_cast<std::size_t>(n);
    while (!queue_.empty() && head_sent_ >= queue_.front().size()) {
      head_sent_ -= queue_.front().size();
      drop_front();
    }
  }
  update_interest();
}

// The peer takes nothing any more, but what it said last is still to be read: the end comes from
// there.
void Link::stop_writing() {
  writable_ = false;
  stage_.reset();
  queue_.clear();
  queued_ = head_sent_ = 0;
  update_interest();
}

void Link::update_interest() {
  if (!open_) return;
  const std::uint32_t want = EPOLLIN | (queue_.empty() && stage_empty() ? 0U : EPOLLOUT);
  if (want == interest_) return;
  interest_ = want;
  if (auto done = loop_.modify(fd_.get(), want); !done) close(done.error());
}

void Link::close(std::optional<Error> error) {
  if (!open_) return;
  open_ = false;
  loop_.cancel_deferred(this);
  loop_.remove(fd_.get());
  fd_.reset();
  stage_.reset();
  queue_.clear();
  queued_ = 0;
  handlers_.on_closed(std::move(error));
}

// A virtio port gives a page at a time: they are gathered, so that what they carry moves on in one
// piece. A short read is the last: should there be more, the loop tells again.
Link::Gathered Link::gather() {
  std::span<std::byte> space = parser_.prepare(kReadChunk);
  while (!space.empty()) {
    const auto got = sys::read_some(fd_.get(), space);
    if (!got && got.error().errnum() == EAGAIN) return Gathered::kAll;
    if (!got) {
      // What came before it is handed on first: a peer's last words.
      failure_ = got.error();
      return Gathered::kEnd;
    }
    if (*got == 0) return Gathered::kEnd;
    parser_.commit(*got);
    space = space.subspan(*got);
    if (*got < kPage) return Gathered::kAll;
  }
  return Gathered::kMore;
}

// False at the end of the stream.
Result<bool> Link::read_ready() {
  for (std::size_t taken = 0; taken < kReadPerEvent && open_; taken += kReadChunk) {
    const Gathered gathered = gather();
    Frame frame;
    while (open_ && MVM_TRY(parser_.next(frame))) MVM_TRY(handlers_.on_frame(frame));
    if (failure_) return *std::exchange(failure_, std::nullopt);
    if (gathered != Gathered::kMore) return gathered != Gathered::kEnd;
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
    if (!alive) {
      flush();  // the handler may have told the peer what is wrong with it
      return close(alive.error());
    }
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
