// SPDX-License-Identifier: Apache-2.0
#include "netd/frame_stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "sys/socket.h"

namespace mvm::netd {
namespace {

constexpr std::size_t kHeader = 4;
// One read takes what the peer's socket buffer holds, which by default is about this much.
constexpr std::size_t kReadSize = 256 * 1024;
constexpr std::size_t kSocketBuffer = 1 << 20;
// From here on a frame is worth a system call of its own, which saves a copy.
constexpr std::size_t kDirectSize = 8 * 1024;

std::uint32_t read_length(const std::byte* at) {
  std::uint32_t length = 0;
  std::memcpy(&length, at, sizeof length);
  return ntohl(length);
}

}  // namespace

FrameStream::FrameStream(int fd) : fd_(fd), in_(new std::byte[kReadSize]) {
  ::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) | O_NONBLOCK);
  sys::raise_send_buffer(fd_, kSocketBuffer);
}

Result<bool> FrameStream::receive(const Take& take) {
  // A frame that is not whole is smaller than the buffer: there is always room.
  const ssize_t n = ::recv(fd_, in_.get() + filled_, kReadSize - filled_, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n < 0 && errno == ECONNRESET) return false;
  if (n < 0) return Error::from_errno("recv");
  if (n == 0) return false;
  filled_ += static_cast<std::size_t>(n);
  MVM_TRY(deliver(take));
  return true;
}

Result<> FrameStream::deliver(const Take& take) {
  std::size_t at = 0;
  while (filled_ - at >= kHeader) {
    const std::size_t length = read_length(in_.get() + at);
    if (length > kMaxFrame)
      return Error(Errc::kGuestFault, "a frame of " + std::to_string(length) +
                                          " bytes came, more than " + std::to_string(kMaxFrame));
    if (filled_ - at - kHeader < length) break;
    if (length < kMinFrame)
      ++dropped_;
    else
      take({in_.get() + at + kHeader, length});
    at += kHeader + length;
  }
  filled_ -= at;
  std::memmove(in_.get(), in_.get() + at, filled_);
  return {};
}

bool FrameStream::send(std::span<const std::byte> frame) {
  if (frame.size() > kMaxFrame || queued() + kHeader + frame.size() > kMaxQueued) {
    ++dropped_;
    return false;
  }
  const std::uint32_t length = htonl(static_cast<std::uint32_t>(frame.size()));
  const auto header = std::as_bytes(std::span(&length, 1));
  std::size_t sent = 0;
  if (frame.size() >= kDirectSize) sent = send_direct(header, frame);
  const std::size_t of_header = std::min(sent, kHeader);
  out_.insert(out_.end(), header.begin() + static_cast<std::ptrdiff_t>(of_header), header.end());
  out_.insert(out_.end(), frame.begin() + static_cast<std::ptrdiff_t>(sent - of_header),
              frame.end());
  return true;
}

// Returns the bytes that the socket has taken; what is wrong with it, flush() will tell.
std::size_t FrameStream::send_direct(std::span<const std::byte> header,
                                     std::span<const std::byte> frame) {
  if (queued() > 0 && !flush()) return 0;
  if (queued() > 0) return 0;
  const auto part = [](std::span<const std::byte> bytes) {
    return iovec{const_cast<std::byte*>(bytes.data()), bytes.size()};
  };
  std::array<iovec, 2> parts{part(header), part(frame)};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  const ssize_t n = ::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

Result<> FrameStream::flush() {
  while (queued() > 0) {
    const ssize_t n = ::send(fd_, out_.data() + sent_, queued(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) return Error::from_errno("send");
    if (n < 0) break;
    sent_ += static_cast<std::size_t>(n);
  }
  // Moves what is left only when as much has gone, so that no byte is moved twice on average.
  if (sent_ >= queued()) {
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(sent_));
    sent_ = 0;
  }
  return {};
}

}  // namespace mvm::netd
