// SPDX-License-Identifier: Apache-2.0
#include "vmm/net/stream_backend.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::vmm {
namespace {

constexpr std::size_t kLengthSize = 4;
constexpr std::size_t kInSize = 128 * 1024;
static_assert(kInSize >= kLengthSize + StreamBackend::kMaxStreamFrame);
// From here on a frame is worth a system call of its own.
constexpr std::size_t kDirectSize = 16 * 1024;
constexpr std::size_t kMaxSegments = 256;
constexpr std::size_t kSocketBuffer = 1 << 20;

Error gone() { return Error(Errc::kUnavailable, "the network process has gone"); }

}  // namespace

StreamBackend::StreamBackend(sys::UniqueFd fd) : fd_(std::move(fd)), in_(new std::byte[kInSize]) {
  sys::raise_send_buffer(fd_.get(), kSocketBuffer);
}

Result<std::unique_ptr<StreamBackend>> StreamBackend::adopt(sys::UniqueFd fd) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM)
    return Error(Errc::kInvalidArgument,
                 "descriptor " + std::to_string(fd.get()) + " is not a stream socket");
  MVM_TRY(sys::set_nonblocking(fd.get(), true));
  return std::unique_ptr<StreamBackend>(new StreamBackend(std::move(fd)));
}

Result<std::unique_ptr<StreamBackend>> StreamBackend::connect(const std::string& path) {
  return adopt(MVM_TRY(sys::connect_unix(path)));
}

Result<> StreamBackend::set_offloads(std::uint64_t accepted) {
  if (accepted != 0)
    return Error(Errc::kUnsupported, "a network over a stream socket has no offloads");
  return {};
}

// The size of the frame that is whole in the buffer; frames without an Ethernet header are skipped.
Result<std::optional<std::size_t>> StreamBackend::buffered_frame() {
  while (end_ - begin_ >= kLengthSize) {
    std::uint32_t length = 0;
    std::memcpy(&length, in_.get() + begin_, sizeof length);
    length = ntohl(length);
    if (length > kMaxStreamFrame)
      return Error(Errc::kCorrupt,
                   "the network process sent a frame of " + std::to_string(length) + " bytes");
    if (end_ - begin_ - kLengthSize < length) break;
    if (length >= kMinFrame) return std::optional<std::size_t>(length);
    begin_ += kLengthSize + length;
  }
  return std::optional<std::size_t>();
}

// False when there is nothing to read now.
Result<bool> StreamBackend::fill() {
  std::memmove(in_.get(), in_.get() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  for (;;) {
    const ssize_t n = ::recv(fd_.get(), in_.get() + end_, kInSize - end_, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return false;
    if (n == 0 || (n < 0 && errno == ECONNRESET)) return gone();
    if (n < 0) return Error::from_errno("recv from the network process");
    end_ += static_cast<std::size_t>(n);
    return true;
  }
}

Result<std::optional<NetFrame>> StreamBackend::peek() {
  for (;;) {
    if (const auto size = MVM_TRY(buffered_frame())) {
      frame_ = *size;
      return std::optional<NetFrame>({{}, {in_.get() + begin_ + kLengthSize, frame_}});
    }
    if (!MVM_TRY(fill())) return std::optional<NetFrame>();
  }
}

void StreamBackend::consume() { begin_ += kLengthSize + std::exchange(frame_, 0); }

// Straight from the guest's memory. Returns the bytes that the socket has taken.
Result<std::size_t> StreamBackend::send_direct(std::span<const iovec> frame, std::size_t size) {
  std::uint32_t length = htonl(static_cast<std::uint32_t>(size));
  std::array<iovec, kMaxSegments + 1> segments;
  const std::size_t count = std::min(frame.size(), kMaxSegments);
  segments[0] = {&length, sizeof length};
  std::copy_n(frame.begin(), count, segments.begin() + 1);
  msghdr message{};
  message.msg_iov = segments.data();
  message.msg_iovlen = count + 1;
  const ssize_t n = ::sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n >= 0) return static_cast<std::size_t>(n);
  if (errno == EAGAIN || errno == EINTR) return std::size_t{0};
  return gone();
}

Result<NetBackend::Sent> StreamBackend::send(const NetHeader&, std::span<const iovec> frame,
                                             std::size_t size) {
  if (size > kMaxStreamFrame) return Sent::kRefused;
  const std::size_t whole = kLengthSize + size;
  const bool large = size >= kDirectSize;
  if (large || unsent() + whole > kMaxUnsent) MVM_TRY(flush());
  if (unsent() + whole > kMaxUnsent) return Sent::kFull;
  std::size_t skip = 0;
  if (large && unsent() == 0) skip = MVM_TRY(send_direct(frame, size));
  if (skip == whole) return Sent::kYes;
  // What the socket did not take is kept: the guest gets its buffer back.
  const std::uint32_t length = htonl(static_cast<std::uint32_t>(size));
  const auto keep = [&](const void* from, std::size_t bytes) {
    const std::size_t jump = std::min(skip, bytes);
    const auto* first = static_cast<const std::byte*>(from);
    out_.insert(out_.end(), first + jump, first + bytes);
    skip -= jump;
  };
  keep(&length, sizeof length);
  for (const iovec& segment : frame) keep(segment.iov_base, segment.iov_len);
  return Sent::kYes;
}

Result<> StreamBackend::flush() {
  while (unsent() > 0) {
    const ssize_t n = ::send(fd_.get(), out_.data() + sent_, unsent(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return gone();
    sent_ += static_cast<std::size_t>(n);
  }
  if (sent_ >= unsent()) {
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(sent_));
    sent_ = 0;
  }
  return {};
}

}  // namespace mvm::vmm
