// SPDX-License-Identifier: Apache-2.0
#include "vmm/mmds/tcp_connection.h"

#include <algorithm>

namespace mvm::vmm {
namespace {

constexpr std::uint16_t kDefaultSegment = 536;
constexpr std::uint16_t kLeastSegment = 100;

// How far `a` is ahead of `b` in the sequence space.
std::int32_t ahead(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b); }

std::string_view text_of(FrameBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TcpConnection::TcpConnection(const TcpSegment& syn, std::uint32_t initial_sequence)
    : unacknowledged_(initial_sequence),
      next_(initial_sequence),
      highest_(initial_sequence),
      peer_window_(syn.window),
      segment_size_(
          std::clamp<std::size_t>(syn.mss.value_or(kDefaultSegment), kLeastSegment, kMaxTcpData)),
      data_start_(initial_sequence + 1),
      expected_(syn.sequence + 1) {}

std::uint16_t TcpConnection::window() const {
  return static_cast<std::uint16_t>(kMaxReceived - received_.size());
}

// The sequence number that FIN has, or would have.
std::uint32_t TcpConnection::end_of_data() const {
  return data_start_ + static_cast<std::uint32_t>(unsent_or_unacknowledged_.size());
}

bool TcpConnection::acceptable(const TcpSegment& segment) const {
  const std::int32_t begin = ahead(segment.sequence, expected_);
  const std::int32_t end = ahead(segment.sequence + segment.length(), expected_);
  if (segment.length() == 0) return begin >= 0 && begin <= window();
  return end > 0 && begin < window();
}

void TcpConnection::input(const TcpSegment& segment, Clock::time_point now) {
  if (finished_) return;
  if (segment.has(kTcpReset)) {
    // Anything but the next byte may be forged or old.
    finished_ = segment.sequence == expected_;
    acknowledge_ = acknowledge_ || (!finished_ && acceptable(segment));
    return;
  }
  if (segment.has(kTcpSyn)) {
    if (!open_ && segment.sequence + 1 == expected_)
      next_ = unacknowledged_;
    else
      acknowledge_ = true;
    return;
  }
  if (!acceptable(segment)) {
    acknowledge_ = true;
    return;
  }
  if (segment.has(kTcpAck) && take_acknowledgement(segment, now) && open_) take_data(segment);
}

// False when the segment is to be dropped.
bool TcpConnection::take_acknowledgement(const TcpSegment& segment, Clock::time_point now) {
  const std::uint32_t to = segment.acknowledged;
  if (ahead(to, highest_) > 0) {
    acknowledge_ = open_;
    return false;
  }
  peer_window_ = segment.window;
  if (ahead(to, unacknowledged_) <= 0) return true;
  unacknowledged_ = to;
  if (ahead(next_, to) < 0) next_ = to;
  // Before the connection is open this was our SYN, and there is no data.
  open_ = true;
  const std::size_t gone =
      std::min<std::size_t>(to - data_start_, unsent_or_unacknowledged_.size());
  unsent_or_unacknowledged_.erase(0, gone);
  data_start_ += static_cast<std::uint32_t>(gone);
  retries_ = 0;
  timeout_.reset();
  if (highest_ != unacknowledged_) timeout_ = now + kFirstTimeout;
  return true;
}

void TcpConnection::take_data(const TcpSegment& segment) {
  if (segment.length() == 0) return;
  acknowledge_ = true;
  const std::int32_t old = ahead(expected_, segment.sequence);
  if (old < 0 || peer_finished_) return;
  const FrameBytes fresh =
      segment.data.subspan(std::min(static_cast<std::size_t>(old), segment.data.size()));
  const std::size_t taken = std::min<std::size_t>(fresh.size(), window());
  received_ += text_of(fresh.first(taken));
  expected_ += static_cast<std::uint32_t>(taken);
  if (!segment.has(kTcpFin) || taken != fresh.size()) return;
  ++expected_;
  peer_finished_ = true;
}

void TcpConnection::consume(std::size_t bytes) {
  const bool was_narrow = window() < segment_size_;
  received_.erase(0, bytes);
  acknowledge_ = acknowledge_ || (was_narrow && window() >= segment_size_);
}

void TcpConnection::answer(std::string bytes) { unsent_or_unacknowledged_ = std::move(bytes); }

void TcpConnection::abort() {
  finished_ = true;
  reset_pending_ = true;
}

bool TcpConnection::finished() const {
  if (finished_) return !reset_pending_;
  const bool our_fin_acknowledged = closing_ && unacknowledged_ == end_of_data() + 1;
  return our_fin_acknowledged && peer_finished_ && !acknowledge_;
}

TcpSegment TcpConnection::make(std::uint8_t flags, std::uint32_t sequence) const {
  TcpSegment out;
  out.flags = flags;
  out.sequence = sequence;
  out.acknowledged = expected_;
  out.window = window();
  return out;
}

// Data, or FIN, as far as the peer has room.
std::optional<TcpSegment> TcpConnection::next_data() {
  if (ahead(next_, end_of_data()) > 0) return std::nullopt;  // FIN was sent
  const std::size_t sent = next_ - data_start_;
  const std::size_t left = unsent_or_unacknowledged_.size() - sent;
  const std::size_t room = peer_window_ > in_flight() ? peer_window_ - in_flight() : 0;
  std::size_t size = std::min({left, segment_size_, room});
  if (size == 0 && left > 0 && std::exchange(probe_, false)) size = 1;
  const bool last = size == left;
  const bool fin = closing_ && last;
  if (size == 0 && !fin) return std::nullopt;
  TcpSegment out = make(kTcpAck, next_);
  if (size > 0 && last) out.flags |= kTcpPush;
  if (fin) out.flags |= kTcpFin;
  out.data = std::as_bytes(std::span(unsent_or_unacknowledged_)).subspan(sent, size);
  next_ += out.length();
  return out;
}

std::optional<TcpSegment> TcpConnection::output(Clock::time_point now) {
  if (std::exchange(reset_pending_, false)) return make(kTcpReset | kTcpAck, highest_);
  if (finished_) return std::nullopt;
  std::optional<TcpSegment> out;
  if (open_) {
    out = next_data();
  } else if (next_ == unacknowledged_) {
    out = make(kTcpSyn | kTcpAck, next_++);
    out->mss = static_cast<std::uint16_t>(kMaxTcpData);
  }
  // A closed window is asked about by the timer, too.
  const bool waits = out || (open_ && ahead(end_of_data(), next_) > 0);
  if (waits && !timeout_) timeout_ = now + kFirstTimeout * (1 << retries_);
  if (!out && open_ && acknowledge_) out = make(kTcpAck, highest_);
  if (out) acknowledge_ = false;
  if (ahead(next_, highest_) > 0) highest_ = next_;
  return out;
}

void TcpConnection::on_timeout(Clock::time_point now) {
  if (!timeout_ || *timeout_ > now) return;
  timeout_.reset();
  if (++retries_ > kMaxRetries) return abort();
  probe_ = highest_ == unacknowledged_;
  next_ = unacknowledged_;
}

}  // namespace mvm::vmm
