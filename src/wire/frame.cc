// SPDX-License-Identifier: Apache-2.0
#include "wire/frame.h"

#include <algorithm>
#include <cstring>

namespace mvm::wire {
namespace {

std::uint32_t load_u32(const std::byte* at) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<std::uint32_t>(at[i]);
  return value;
}

void store_u32(std::byte* at, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) at[i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
}

bool known(std::uint8_t type) {
  return (type >= static_cast<std::uint8_t>(FrameType::kHello) &&
          type <= static_cast<std::uint8_t>(FrameType::kClock)) ||
         (type >= static_cast<std::uint8_t>(FrameType::kOpen) &&
          type <= static_cast<std::uint8_t>(FrameType::kDataAt));
}

Error broken(const std::string& what) {
  return Error(Errc::kGuestFault, "agent protocol: " + what);
}

}  // namespace

void write_header(std::span<std::byte, kHeaderSize> out, const Frame& frame, std::uint32_t length) {
  store_u32(out.data(), frame.stream);
  out[4] = static_cast<std::byte>(frame.type);
  out[5] = static_cast<std::byte>(frame.channel);
  out[6] = out[7] = std::byte{0};
  store_u32(out.data() + 8, length);
}

void append_frame(std::vector<std::byte>& out, const Frame& frame) {
  const std::size_t at = out.size();
  out.resize(at + kHeaderSize + frame.payload.size());
  write_header(std::span<std::byte, kHeaderSize>(out.data() + at, kHeaderSize), frame,
               static_cast<std::uint32_t>(frame.payload.size()));
  if (!frame.payload.empty())
    std::memcpy(out.data() + at + kHeaderSize, frame.payload.data(), frame.payload.size());
}

std::span<std::byte> FrameParser::prepare(std::size_t at_least) {
  if (begin_ == end_) begin_ = end_ = 0;
  if (buffer_.size() - end_ < at_least) {
    if (begin_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    if (buffer_.size() - end_ < at_least) buffer_.resize(end_ + at_least);
  }
  return std::span(buffer_).subspan(end_);
}

bool FrameParser::next_piece(Frame& frame) {
  const std::size_t length = std::min(rest_, buffered());
  if (length == 0) return false;
  frame = data_;
  frame.payload = std::span(buffer_).subspan(begin_, length);
  begin_ += length;
  rest_ -= length;
  frame.rest = static_cast<std::uint32_t>(rest_);
  return true;
}

Result<bool> FrameParser::next(Frame& frame) {
  if (rest_ > 0) return next_piece(frame);
  if (buffered() < kHeaderSize) return false;
  const std::byte* header = buffer_.data() + begin_;
  const auto type = static_cast<std::uint8_t>(header[4]);
  const auto channel = static_cast<std::uint8_t>(header[5]);
  const std::uint32_t length = load_u32(header + 8);
  if (!known(type)) return broken("unknown frame type " + std::to_string(type));
  if (channel >= kChannels) return broken("channel " + std::to_string(channel) + " does not exist");
  if (header[6] != std::byte{0} || header[7] != std::byte{0})
    return broken("reserved field is not zero");
  const std::size_t most =
      static_cast<FrameType>(type) == FrameType::kData ? kMaxInputChunk : kMaxPayload;
  if (length > most)
    return broken("payload of " + std::to_string(length) + " bytes is over the limit");
  frame.stream = load_u32(header);
  frame.type = static_cast<FrameType>(type);
  frame.channel = channel;
  frame.rest = 0;
  if (frame.type == FrameType::kData && length > 0) {
    data_ = {frame.stream, frame.type, channel, {}, 0};
    begin_ += kHeaderSize;
    rest_ = length;
    return next_piece(frame);
  }
  if (buffered() < kHeaderSize + length) return false;
  frame.payload = std::span<const std::byte>(header + kHeaderSize, length);
  begin_ += kHeaderSize + length;
  return true;
}

}  // namespace mvm::wire
