// SPDX-License-Identifier: Apache-2.0
#include "agent/serve/exchange.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "sys/io.h"
#include "wire/limits.h"

namespace mvm::agent {
namespace {

constexpr std::size_t kBuffer = 64 * 1024;

}  // namespace

Result<> Exchange::open() {
  if (disk_) return {};
  if (unopened_) return *unopened_;
  auto done = try_open();
  if (done) return {};
  unopened_ = std::move(done).error().with_context("opening the exchange disk");
  return *unopened_;
}

Result<> Exchange::try_open() {
  if (!open_)
    return Error(Errc::kGuestFault,
                 "agent protocol: data on an exchange disk that this guest does not have");
  sys::UniqueFd disk = MVM_TRY(open_());
  struct stat st;
  if (::fstat(disk.get(), &st) != 0) return Error::from_errno("stat");
  direct_ = S_ISBLK(st.st_mode) && (::fcntl(disk.get(), F_GETFL) & O_DIRECT) != 0;
  disk_ = std::move(disk);
  return {};
}

Result<> Exchange::accept(const wire::DataAt& where) {
  if (where.offset + where.length > wire::kExchangeInput)
    return Error(Errc::kGuestFault, "agent protocol: the host's data is not in its half");
  return open();
}

Result<std::size_t> Exchange::move(int pipe, std::uint64_t offset, std::size_t length) {
  auto at = static_cast<loff_t>(offset);
  ssize_t n = 0;
  do n = ::splice(disk_.get(), &at, pipe, nullptr, length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  while (n < 0 && errno == EINTR);
  if (n < 0) return Error::from_errno("read the exchange disk");
  if (n == 0) return Error(Errc::kIo, "the exchange disk ends too early");
  return static_cast<std::size_t>(n);
}

// Reads whole blocks, as a disk that is read directly wants it.
Result<std::size_t> Exchange::copy(int fd, std::uint64_t offset, std::size_t length) {
  if (!buffer_)
    buffer_ = {static_cast<std::byte*>(std::aligned_alloc(wire::kExchangeBlock, kBuffer)),
               std::free};
  if (!buffer_) return Error::from_errno("memory for input");
  const std::size_t lead = offset % wire::kExchangeBlock;
  ssize_t n = 0;
  do n = ::pread(disk_.get(), buffer_.get(), kBuffer, static_cast<off_t>(offset - lead));
  while (n < 0 && errno == EINTR);
  if (n < 0) return Error::from_errno("read the exchange disk");
  if (static_cast<std::size_t>(n) <= lead)
    return Error(Errc::kIo, "the exchange disk ends too early");
  const std::size_t have = static_cast<std::size_t>(n) - lead;
  return sys::write_some(fd, {buffer_.get() + lead, std::min(have, length)});
}

bool Exchange::open_stage() {
  if (stage_.write_end) return true;
  auto pipe = sys::make_pipe(kSlotSize);
  if (!pipe) return false;
  stage_ = std::move(*pipe);
  return true;
}

std::size_t Exchange::rest_size() const {
  return stage_.read_end ? sys::unread_bytes(stage_.read_end.get()) : 0;
}

Result<std::optional<wire::DataAt>> Exchange::put(int pipe, std::size_t length) {
  const auto free = std::find(used_.begin(), used_.end(), false);
  if (free == used_.end() || !open() || !open_stage()) return std::nullopt;
  const ssize_t n =
      ::splice(pipe, nullptr, stage_.write_end.get(), nullptr,
               std::min<std::size_t>(length, kSlotSize), SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (n <= 0) return std::nullopt;
  const auto slot = static_cast<std::uint32_t>(free - used_.begin());
  const std::uint32_t offset = wire::kExchangeInput + slot * kSlotSize;
  const std::uint32_t written = write_stage(offset, static_cast<std::uint32_t>(n));
  if (written == 0) return std::nullopt;
  *free = true;
  // It takes pages whole or not at all; half a block is out of the pipe and nowhere else.
  if (written % wire::kExchangeBlock != 0)
    return Error(Errc::kIo, "the exchange disk has taken a part of a block");
  return wire::DataAt{offset, written};
}

// How much of its whole blocks: all, or what comes before a page that does not begin where a disk's
// sectors do.
std::uint32_t Exchange::write_stage(std::uint64_t offset, std::uint32_t length) {
  auto at = static_cast<loff_t>(offset);
  std::uint32_t written = 0;
  length -= length % wire::kExchangeBlock;
  while (written < length) {
    const ssize_t n =
        ::splice(stage_.read_end.get(), nullptr, disk_.get(), &at, length - written, SPLICE_F_MOVE);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    written += static_cast<std::uint32_t>(n);
  }
  return written;
}

Result<> Exchange::taken(std::uint32_t offset) {
  const std::uint32_t slot = (offset - wire::kExchangeInput) / kSlotSize;
  if (offset < wire::kExchangeInput || offset % kSlotSize != 0 || slot >= kSlots || !used_[slot])
    return Error(Errc::kGuestFault, "agent protocol: the host has read what we did not write");
  used_[slot] = false;
  return {};
}

}  // namespace mvm::agent
