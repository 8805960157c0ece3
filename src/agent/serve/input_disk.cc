// SPDX-License-Identifier: Apache-2.0
#include "agent/serve/input_disk.h"

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

Result<> InputDisk::open() {
  if (disk_) return {};
  if (!open_)
    return Error(Errc::kGuestFault,
                 "agent protocol: input by a disk that this guest does not have");
  disk_ = MVM_TRY_CTX(open_(), "opening the input disk");
  struct stat st;
  if (::fstat(disk_.get(), &st) != 0) return Error::from_errno("stat the input disk");
  direct_ = S_ISBLK(st.st_mode) && (::fcntl(disk_.get(), F_GETFL) & O_DIRECT) != 0;
  return {};
}

Result<std::size_t> InputDisk::move(int pipe, std::uint64_t offset, std::size_t length) {
  auto at = static_cast<loff_t>(offset);
  ssize_t n = 0;
  do n = ::splice(disk_.get(), &at, pipe, nullptr, length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  while (n < 0 && errno == EINTR);
  if (n < 0) return Error::from_errno("read the input disk");
  if (n == 0) return Error(Errc::kIo, "the input disk ends too early");
  return static_cast<std::size_t>(n);
}

// Reads whole blocks, as a disk that is read directly wants it.
Result<std::size_t> InputDisk::copy(int fd, std::uint64_t offset, std::size_t length) {
  if (!buffer_)
    buffer_ = {static_cast<std::byte*>(std::aligned_alloc(wire::kInputDiskBlock, kBuffer)),
               std::free};
  if (!buffer_) return Error::from_errno("memory for input");
  const std::size_t lead = offset % wire::kInputDiskBlock;
  ssize_t n = 0;
  do n = ::pread(disk_.get(), buffer_.get(), kBuffer, static_cast<off_t>(offset - lead));
  while (n < 0 && errno == EINTR);
  if (n < 0) return Error::from_errno("read the input disk");
  if (static_cast<std::size_t>(n) <= lead) return Error(Errc::kIo, "the input disk ends too early");
  const std::size_t have = static_cast<std::size_t>(n) - lead;
  return sys::write_some(fd, {buffer_.get() + lead, std::min(have, length)});
}

}  // namespace mvm::agent
