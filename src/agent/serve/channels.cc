// SPDX-License-Identifier: Apache-2.0
#include "agent/serve/channels.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "sys/io.h"

namespace mvm::agent {
namespace {

// One event sends at most this many chunks, so that one busy stream cannot starve the others.
constexpr int kChunksPerTurn = 4;
// A pipe through which much goes is made this large: fewer changes between agent and process. Most
// carry little, and a large one costs time to make.
constexpr int kLargePipe = 1024 * 1024;
constexpr std::size_t kUsualPipe = 64 * 1024;
// Less is sooner there by the link.
constexpr std::size_t kLeastByDisk = 128 * 1024;
// So often in a row output may turn out not to lie in whole pages before it is left to the link.
constexpr int kPatience = 3;
constexpr std::byte kEndOfFile{4};  // VEOF of a terminal in its usual settings: ^D

Error contract(const ChannelId& id, const char* what) {
  return Error(Errc::kGuestFault,
               "agent protocol: stream " + std::to_string(id.stream) + ": " + what);
}

// Once per pipe. Refused for a terminal, and to a user who has used up his pages.
void enlarge(int pipe, bool& enlarged) {
  if (!enlarged) (void)::fcntl(pipe, F_SETPIPE_SZ, kLargePipe);
  enlarged = true;
}

}  // namespace

OutputPump::OutputPump(sys::EventLoop& loop, wire::Link& link, Exchange& exchange, ChannelId id,
                       std::function<void()> on_done)
    : loop_(loop), link_(link), exchange_(exchange), id_(id), on_done_(std::move(on_done)) {}

void OutputPump::start(sys::UniqueFd fd) {
  fd_ = std::move(fd);
  watch(true);
}

// A paused descriptor is taken out of the loop altogether: epoll tells a hang-up even when nothing
// is asked for.
void OutputPump::watch(bool on) {
  if (on == watched_ || !fd_) return;
  if (!on) loop_.remove(fd_.get());
  if (on && !loop_.add(fd_.get(), EPOLLIN, [this](std::uint32_t) { pump(); })) return;
  watched_ = on;
}

void OutputPump::pump() {
  for (int i = 0; fd_; ++i) {
    if (left_ && *left_ == 0) return finish();
    if (credit_ == 0 || link_.congested()) return watch(false);
    if (i == kChunksPerTurn && !left_) return watch(true);
    if (const std::size_t sent = send_by_disk(); sent > 0) {
      count(sent);
      continue;
    }
    if (!fd_) return;
    std::size_t limit =
        std::min<std::size_t>({credit_, wire::kMaxDataChunk, left_.value_or(wire::kMaxDataChunk)});
    if (to_page_ > 0) limit = std::min(limit, to_page_);
    const auto sent = link_.send_from(fd_.get(), id_.stream, id_.channel, limit);
    if (!sent && sent.error().errnum() == EAGAIN && !left_) return watch(true);
    // The master of a terminal without an other side reads as EIO.
    if (!sent || *sent == 0) return finish();
    to_page_ -= std::min(to_page_, *sent);
    count(*sent);
    if (*sent >= kUsualPipe) enlarge(fd_.get(), enlarged_);
  }
}

void OutputPump::count(std::size_t sent) {
  credit_ -= static_cast<std::uint32_t>(sent);
  if (left_) *left_ -= sent;
}

// Much at once, in whole pages. Returns how much was sent, in whatever way.
std::size_t OutputPump::send_by_disk() {
  // A pipe of the usual size never holds enough.
  if (!enlarged_ || to_page_ > 0 || unpaged_ > kPatience) return 0;
  const std::size_t held = sys::unread_bytes(fd_.get());
  const std::size_t most = std::min<std::size_t>({held, credit_, left_.value_or(held)});
  if (most < kLeastByDisk) return 0;
  const auto put = exchange_.put(fd_.get(), most - most % wire::kExchangeBlock);
  if (!put) return lose(put.error().text());
  std::size_t sent = 0;
  if (const auto& where = *put) {
    link_.send(id_.stream, wire::FrameType::kDataAt, id_.channel, wire::encode(*where));
    sent = where->length;
    unpaged_ = 0;
  }
  const std::size_t rest = exchange_.rest_size();
  for (std::size_t left = rest; left > 0;) {
    const auto copied = link_.send_from(exchange_.rest(), id_.stream, id_.channel,
                                        std::min<std::size_t>(left, wire::kMaxDataChunk));
    if (!copied || *copied == 0) return lose("a page of its output cannot be read");
    left -= *copied;
  }
  if (rest > 0) {
    // A writer of odd pieces: what is in the pipe now begins anywhere in its page, what comes
    // behind it in a page of its own.
    ++unpaged_;
    to_page_ = held - std::min(held, sent + rest);
  }
  return sent + rest;
}

// Bytes that are lost must not look like an output without them.
std::size_t OutputPump::lose(const std::string& why) {
  exchange_.drop_rest();
  drop();
  const std::string text = "output is lost: " + why;
  link_.send(0, wire::FrameType::kFault, 0, std::as_bytes(std::span(text)));
  return 0;
}

void OutputPump::grant(std::uint32_t bytes) {
  // A generous host gains nothing: the link's own bound holds whatever it says.
  credit_ = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(std::uint64_t{credit_} + bytes, 64 * wire::kOutputWindow));
  pump();
}

void OutputPump::process_ended() {
  if (!fd_) return;
  // A terminal may hold more than it counts, in buffers that the next read flushes.
  left_ = ::isatty(fd_.get()) != 0 ? std::size_t{256 * 1024} : sys::unread_bytes(fd_.get());
  pump();
}

void OutputPump::finish() {
  drop();
  link_.send(id_.stream, wire::FrameType::kEof, id_.channel, {});
  on_done_();
}

sys::UniqueFd OutputPump::release() {
  watch(false);
  return std::move(fd_);
}

void OutputPump::drop() {
  watch(false);
  fd_.reset();
}

InputQueue::InputQueue(sys::EventLoop& loop, wire::Link& link, Exchange& exchange, ChannelId id,
                       bool tty)
    : loop_(loop), link_(link), exchange_(exchange), id_(id), tty_(tty) {}

Result<> InputQueue::take_from_window(std::size_t bytes) {
  if (finished_) return contract(id_, "data after its end");
  if (bytes > wire::kMaxInputChunk) return contract(id_, "data frame is too long");
  if (bytes > window_) return contract(id_, "more data than its window allows");
  window_ -= static_cast<std::uint32_t>(bytes);
  // Before it is full: what is queued once is copied once more, and so is all that comes behind it.
  received_ += bytes;
  if (fd_ && received_ >= kUsualPipe / 2) enlarge(fd_.get(), enlarged_);
  return {};
}

Result<> InputQueue::receive(std::span<const std::byte> bytes) {
  MVM_TRY(take_from_window(bytes.size()));
  if (!fd_) {
    consumed(bytes.size());
    return {};
  }
  if (idle()) {
    // Straight on while the process keeps up with us.
    const auto written = sys::write_some(fd_.get(), bytes);
    if (!written && written.error().errnum() != EAGAIN) {
      drop();
      consumed(bytes.size());
      return {};
    }
    if (written) {
      consumed(*written);
      bytes = bytes.subspan(*written);
    }
  }
  if (!bytes.empty()) {
    Block& block = queue_.emplace_back();
    block.length = bytes.size();
    block.bytes.resize(bytes.size());
    // The range constructor would go byte by byte.
    std::memcpy(block.bytes.data(), bytes.data(), bytes.size());
  }
  if (!watched_) feed();
  return {};
}

Result<> InputQueue::receive_at(const wire::DataAt& where) {
  MVM_TRY(exchange_.accept(where));
  MVM_TRY(take_from_window(where.length));
  if (!fd_) {
    consumed(where.length);
    return {};
  }
  if (!queue_.empty() && queue_.back().on_disk() && queue_.back().end() == where.offset) {
    queue_.back().length += where.length;
  } else {
    queue_.push_back({{}, where.offset, where.length});
  }
  if (!watched_) loop_.defer(this, [this] { feed(); });  // what comes next may lie beside it
  return {};
}

Result<> InputQueue::finish() {
  if (finished_) return contract(id_, "ended twice");
  finished_ = true;
  if (tty_ && fd_) queue_.push_back({{kEndOfFile}, 0, 1});
  if (!watched_) feed();
  return {};
}

Result<> InputQueue::stage_front() {
  if (!stage_.write_end) stage_ = MVM_TRY(sys::make_pipe(kLargePipe));
  const Block& block = queue_.front();
  staged_ =
      MVM_TRY(exchange_.move(stage_.write_end.get(), block.offset + head_, block.length - head_));
  advance(staged_);
  return {};
}

// Of what is staged, or else of the queue.
Result<std::size_t> InputQueue::write_front() {
  if (staged_ > 0) {
    ssize_t n = 0;
    do
      n = ::splice(stage_.read_end.get(), nullptr, fd_.get(), nullptr, staged_,
                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (n < 0 && errno == EINTR);
    if (n < 0) return Error::from_errno("write input");
    return static_cast<std::size_t>(n);
  }
  const Block& block = queue_.front();
  if (block.on_disk()) return exchange_.copy(fd_.get(), block.offset + head_, block.length - head_);
  return sys::write_some(fd_.get(), std::span(block.bytes).subspan(head_));
}

void InputQueue::advance(std::size_t bytes) {
  head_ += bytes;
  by_disk_ = by_disk_ || queue_.front().on_disk();
  if (!(tty_ && finished_)) consumed(bytes);
  if (head_ < queue_.front().length) return;
  queue_.pop_front();
  head_ = 0;
}

void InputQueue::feed() {
  while (fd_ && !idle()) {
    if (staged_ == 0 && queue_.front().on_disk() && exchange_.moves() && !tty_ && !unstaged_) {
      auto done = stage_front();
      if (!done && done.error().errnum() == EIO) return give_up(done.error());
      unstaged_ = !done;  // for lack of memory or descriptors: copying takes none
    }
    const auto written = write_front();
    if (!written && written.error().errnum() == EAGAIN) return watch(true);
    if (!written) return give_up(written.error());
    if (staged_ > 0) {
      staged_ -= *written;
    } else {
      advance(*written);
    }
  }
  watch(false);
  if (by_disk_) grant();  // the host's slots are few: not only when much has come together
  // A terminal's input stays open: its output comes through the same device.
  if (finished_ && !tty_) fd_.reset();
}

// A process that reads no more is no failure. Input that is lost on our side is, and may not look
// like its end.
void InputQueue::give_up(const Error& error) {
  if (error.errnum() == EPIPE || queue_.empty() || !queue_.front().on_disk()) return drop();
  const std::string text = error.text();
  drop();
  link_.send(0, wire::FrameType::kFault, 0, std::as_bytes(std::span(text)));
}

void InputQueue::consumed(std::size_t bytes) {
  ungranted_ += static_cast<std::uint32_t>(bytes);
  if (ungranted_ >= wire::grant_step(id_.channel) && !finished_) grant();
}

void InputQueue::grant() {
  by_disk_ = false;
  if (ungranted_ == 0) return;
  window_ += ungranted_;
  link_.send(id_.stream, wire::FrameType::kCredit, id_.channel, wire::encode_u32(ungranted_));
  ungranted_ = 0;
}

void InputQueue::watch(bool on) {
  if (on == watched_ || !fd_) return;
  if (!on) loop_.remove(fd_.get());
  if (on && !loop_.add(fd_.get(), EPOLLOUT, [this](std::uint32_t) { feed(); })) return;
  watched_ = on;
}

void InputQueue::drop() {
  watch(false);
  loop_.cancel_deferred(this);
  fd_.reset();
  std::size_t lost = 0;
  for (const Block& block : queue_) lost += block.length;
  lost -= head_;
  queue_.clear();
  head_ = 0;
  staged_ = 0;
  stage_ = {};
  if (lost > 0 && link_.open()) consumed(lost);
}

}  // namespace mvm::agent
