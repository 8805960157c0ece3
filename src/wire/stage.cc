// SPDX-License-Identifier: Apache-2.0
#include "wire/stage.h"

#include <fcntl.h>

#include <algorithm>
#include <array>

namespace mvm::wire {
namespace {

// More pages than a process's pipe has, so that a full one with small pieces still fits.
constexpr std::size_t kPipeSize = 1024 * 1024;
constexpr std::size_t kPage = 4096;

}  // namespace

Result<Stage> Stage::create() {
  sys::Pipe pipe = MVM_TRY(sys::make_pipe(kPipeSize));
  MVM_TRY(sys::set_nonblocking(pipe.read_end.get(), true));
  MVM_TRY(sys::set_nonblocking(pipe.write_end.get(), true));
  // A pipe that is smaller does as well, in smaller frames.
  const int size = ::fcntl(pipe.write_end.get(), F_GETPIPE_SZ);
  if (size < 0) return Error::from_errno("size of a pipe");
  return Stage(std::move(pipe), static_cast<std::size_t>(size) - kPage);
}

std::size_t Stage::put_header(const Frame& frame, std::size_t length) {
  std::array<std::byte, kHeaderSize> header;
  write_header(header, frame, static_cast<std::uint32_t>(length));
  return sys::write_some(pipe_.write_end.get(), header).value_or(0);
}

std::vector<std::byte> Stage::take_back(std::size_t count) {
  std::vector<std::byte> bytes(count);
  bytes.resize(sys::read_full(pipe_.read_end.get(), bytes).value_or(0));
  return bytes;
}

std::size_t Stage::fill(int from, std::uint32_t stream, std::uint8_t channel, std::size_t limit) {
  const std::size_t want = std::min({sys::unread_bytes(from), limit, room_});
  if (want < kLeast) return 0;
  const Frame frame{stream, FrameType::kData, channel, {}};
  const std::size_t header = put_header(frame, want);
  const ssize_t n = ::splice(from, nullptr, pipe_.write_end.get(), nullptr, want,
                             SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  const std::size_t moved = n > 0 ? static_cast<std::size_t>(n) : 0;
  held_ = header + moved;
  if (moved == want) return moved;
  // Too many small pieces for our pipe, or no pipe at all: what has come is copied behind a header
  // that tells the truth.
  std::vector<std::byte> bytes = take_back(held_);
  held_ = 0;
  if (moved == 0) return 0;
  write_header(std::span(bytes).first<kHeaderSize>(), frame, static_cast<std::uint32_t>(moved));
  held_ = sys::write_some(pipe_.write_end.get(), bytes).value_or(0);
  return moved;
}

Result<> Stage::drain(int to) {
  while (held_ > 0) {
    const ssize_t n = ::splice(pipe_.read_end.get(), nullptr, to, nullptr, held_,
                               SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("write to peer");
    if (n == 0) return Error(Errc::kIo, "the kernel has lost bytes on their way to the peer");
    held_ -= static_cast<std::size_t>(n);
  }
  return {};
}

}  // namespace mvm::wire
