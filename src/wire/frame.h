// SPDX-License-Identifier: Apache-2.0
// Frames: the unit of the agent protocol, the same on every byte stream (virtio-serial, vsock, unix
// socket).
//
// Shape: stream u32 | type u8 | channel u8 | zero u16 | length u32 | payload; little-endian.
// The full protocol is docs/formats/agent-protocol.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "wire/limits.h"

namespace mvm::wire {

enum class FrameType : std::uint8_t {
  // Connection control, stream 0.
  kHello = 1,      // both ways, first: Hello
  kConfigure = 2,  // host → guest: Configure
  kReady = 3,      // guest → host: Ready
  kFault = 4,      // guest → host: the guest cannot go on; payload: message
  kPing = 5,       // host → guest: u64 cookie
  kPong = 6,       // guest → host: the cookie
  kShutdown = 7,   // host → guest: Shutdown
  kHalted = 8,     // guest → host: file systems are synced and read-only; stop the engine
  kState = 9,      // supervisor → client: VmState
  kStop = 10,      // client → supervisor: Stop
  kTaken = 11,     // host → guest: u32 offset; what lay there on the exchange disk has been read
  kRequest = 12,   // client → supervisor: Request
  kAnswer = 13,    // supervisor → client: Answer, to its requests in their order
  kClock = 14,     // host → guest: u64 nanoseconds since the epoch, after the guest was held
  // Streams, any other number; opened by the host side.
  kOpen = 16,     // host → guest: Open
  kStarted = 17,  // guest → host: the process runs; payload: u32 pid
  kData = 18,     // both ways: bytes of one channel
  kCredit = 19,   // both ways: u32 more bytes may be sent on the channel
  kEof = 20,      // both ways: no more bytes on the channel
  kSignal = 21,   // host → guest: i32 signal number, to the process group
  kResize = 22,   // host → guest: u16 rows, u16 columns
  kCancel = 23,   // host → guest: nobody waits any more; end it and answer kClosed
  kClosed = 24,   // guest → host, last of a stream: Closed
  kDataAt = 25,   // both ways: bytes of one channel that lie on the exchange disk: DataAt
};

// Channels of a stream, numbered as the descriptors of a process.
constexpr std::uint8_t kStdin = 0;   // host → guest
constexpr std::uint8_t kStdout = 1;  // guest → host
constexpr std::uint8_t kStderr = 2;  // guest → host
constexpr std::size_t kChannels = 3;
constexpr std::uint32_t window_of(std::uint8_t channel) {
  return channel == kStdin ? kInputWindow : kOutputWindow;
}
// A receiver grants again when this much has been consumed.
constexpr std::uint32_t grant_step(std::uint8_t channel) { return window_of(channel) / 2; }

struct Frame {
  std::uint32_t stream = 0;
  FrameType type = FrameType::kData;
  std::uint8_t channel = 0;
  std::span<const std::byte> payload;  // borrowed
  // A data frame that came in pieces: how many of its bytes are still to come.
  std::uint32_t rest = 0;
};

// Appends header and payload. The payload must not exceed kMaxPayload.
void append_frame(std::vector<std::byte>& out, const Frame& frame);
// Writes only a header, for a payload of `length` bytes that is already in place behind it.
void write_header(std::span<std::byte, kHeaderSize> out, const Frame& frame, std::uint32_t length);

// Cuts a byte stream into frames. Data frames are handed on in the pieces in which they come, as
// data frames of their own: their borders mean nothing, and nobody has to hold a whole one.
class FrameParser {
 public:
  // Space to read into; call commit() with how much of it was filled.
  std::span<std::byte> prepare(std::size_t at_least);
  void commit(std::size_t count) { end_ += count; }

  // The next frame, or nothing until more bytes come. The payload is valid until the next
  // prepare(). Errors: kGuestFault on an unknown type, a channel out of range, a non-zero reserved
  // field or a payload over the limit.
  Result<bool> next(Frame& frame);

  std::size_t buffered() const { return end_ - begin_; }

 private:
  bool next_piece(Frame& frame);

  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  Frame data_;            // the data frame that is under way, without its payload
  std::size_t rest_ = 0;  // what is still to come of it
};

}  // namespace mvm::wire
