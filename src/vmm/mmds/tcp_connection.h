// SPDX-License-Identifier: Apache-2.0
// The server's end of one TCP connection whose client sends small requests and gets answers.
//
//             ACK of our SYN           answer queued, FIN of the peer, close()
//   syn ───────────────────▶ open ───────────────────▶ both FINs acknowledged ──▶ finished
//    └── RST, or too many retransmissions ─────────────────────────────────────────▲
//
// What comes out of order is dropped and asked for again by an acknowledgement. Received bytes are
// bounded by the window; there is one answer at a time.
//
// Source: RFC 9293; RFC 6298 for the timer's doubling; RFC 5961 for RST and SYN in the middle.
// Threads: none. Time is always passed in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/units.h"
#include "vmm/mmds/packet.h"

namespace mvm::vmm {

class TcpConnection {
 public:
  static constexpr std::size_t kMaxReceived = 8192;  // the longest request
  static constexpr Millis kFirstTimeout{200};
  static constexpr int kMaxRetries = 8;

  // For a SYN that has come. `initial_sequence` is random.
  TcpConnection(const TcpSegment& syn, std::uint32_t initial_sequence);

  void input(const TcpSegment& segment, Clock::time_point now);

  // What was received and not consumed.
  std::string_view received() const { return received_; }
  void consume(std::size_t bytes);
  // Whether an answer may be queued: there is none on its way.
  bool idle() const { return open_ && unsent_or_unacknowledged_.empty() && !closing_; }
  void answer(std::string bytes);
  // Nothing more will be answered: FIN after what is queued.
  void close() { closing_ = true; }
  // RST, at once.
  void abort();

  bool peer_finished() const { return peer_finished_; }
  // Nothing is left to send or to expect.
  bool finished() const;

  // The next segment to send, if there is any; its data is valid until the next call.
  std::optional<TcpSegment> output(Clock::time_point now);

  std::optional<Clock::time_point> timeout() const { return timeout_; }
  void on_timeout(Clock::time_point now);

 private:
  bool acceptable(const TcpSegment& segment) const;
  bool take_acknowledgement(const TcpSegment& segment, Clock::time_point now);
  void take_data(const TcpSegment& segment);
  std::uint16_t window() const;
  std::uint32_t in_flight() const { return next_ - unacknowledged_; }
  std::uint32_t end_of_data() const;
  std::optional<TcpSegment> next_data();
  TcpSegment make(std::uint8_t flags, std::uint32_t sequence) const;

  // Our side. unacknowledged_ ≤ next_ ≤ highest_; a timeout takes next_ back.
  std::uint32_t unacknowledged_;
  std::uint32_t next_;
  std::uint32_t highest_;
  std::uint32_t peer_window_;
  std::size_t segment_size_;
  std::string unsent_or_unacknowledged_;  // begins at data_start_
  std::uint32_t data_start_;
  bool probe_ = false;  // one byte into a closed window
  int retries_ = 0;
  std::optional<Clock::time_point> timeout_;

  // The peer's.
  std::uint32_t expected_;
  std::string received_;

  bool open_ = false;
  bool peer_finished_ = false;
  bool closing_ = false;
  bool acknowledge_ = false;  // an ACK is due
  bool reset_pending_ = false;
  bool finished_ = false;
};

}  // namespace mvm::vmm
