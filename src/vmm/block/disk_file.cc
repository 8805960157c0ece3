// SPDX-License-Identifier: Apache-2.0
#include "vmm/block/disk_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "core/log.h"
#include "sys/io.h"

namespace mvm::vmm {
namespace {

// Drops the first `count` bytes.
std::span<iovec> advance(std::span<iovec> ranges, std::size_t count) {
  while (!ranges.empty() && count >= ranges.front().iov_len) {
    count -= ranges.front().iov_len;
    ranges = ranges.subspan(1);
  }
  if (count > 0 && !ranges.empty()) {
    iovec& first = ranges.front();
    first.iov_base = static_cast<std::byte*>(first.iov_base) + count;
    first.iov_len -= count;
  }
  return ranges;
}

bool fallocate_range(int fd, int mode, std::uint64_t offset, std::uint64_t length) {
  int done = 0;
  do {
    done = ::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
  } while (done != 0 && errno == EINTR);
  return done == 0;
}

bool cannot(int errnum) { return errnum == EOPNOTSUPP || errnum == ENOSYS || errnum == EINVAL; }

}  // namespace

Result<DiskFile> DiskFile::open(const std::string& path, bool read_only) {
  // O_NONBLOCK: the open of a pipe must not wait for its other end.
  const int flags = (read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK;
  return adopt(MVM_TRY(sys::open_file(path, flags)), path, read_only);
}

Result<DiskFile> DiskFile::adopt(sys::UniqueFd fd, std::string path, bool read_only) {
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) return Error::from_errno("stat " + path);
  if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
    return Error(Errc::kInvalidArgument, path + " is neither a regular file nor a block device");
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0) return Error::from_errno("flags of " + path);
  if (!read_only && (flags & O_ACCMODE) != O_RDWR)
    return Error(Errc::kInvalidArgument, path + " is not open for writing");
  const off_t size = ::lseek(fd.get(), 0, SEEK_END);
  if (size < 0) return Error::from_errno("size of " + path);
  DiskFile out;
  out.sectors_ = static_cast<std::uint64_t>(size) / kSectorSize;
  if (static_cast<std::uint64_t>(size) % kSectorSize != 0)
    log::warn("disk " + path + ": its last " +
              std::to_string(static_cast<std::uint64_t>(size) % kSectorSize) +
              " bytes are no whole sector, the guest does not see them");
  out.host_id_ = std::to_string(st.st_dev) + std::to_string(st.st_rdev) + std::to_string(st.st_ino);
  out.fd_ = std::move(fd);
  out.path_ = std::move(path);
  out.read_only_ = read_only;
  return out;
}

Result<> DiskFile::write(std::uint64_t offset, std::span<iovec> ranges, bool durable) const {
  while (!ranges.empty()) {
    const ssize_t count = ::pwritev2(fd(), ranges.data(), static_cast<int>(ranges.size()),
                                     static_cast<off_t>(offset), durable ? RWF_DSYNC : 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error::from_errno("write to " + path_);
    if (count == 0) return Error(Errc::kIo, "write to " + path_ + ": nothing was written");
    offset += static_cast<std::uint64_t>(count);
    ranges = advance(ranges, static_cast<std::size_t>(count));
  }
  return {};
}

Result<> DiskFile::discard(std::uint64_t offset, std::uint64_t length) const {
  if (fallocate_range(fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)) return {};
  // A discard is a hint: where it cannot be followed, nothing is wrong.
  if (cannot(errno)) return {};
  return Error::from_errno("discard of " + path_);
}

Result<> DiskFile::write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) const {
  if (may_unmap &&
      fallocate_range(fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length))
    return {};
  if (may_unmap && !cannot(errno)) return Error::from_errno("zeroing of " + path_);
  if (fallocate_range(fd(), FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length)) return {};
  if (!cannot(errno)) return Error::from_errno("zeroing of " + path_);
  alignas(64) static constexpr std::array<std::byte, 4096> kZeros{};
  std::array<iovec, 256> ranges;
  while (length > 0) {
    std::size_t count = 0;
    const std::uint64_t start = offset;
    for (; count < ranges.size() && length > 0; ++count) {
      const std::size_t part = std::min<std::uint64_t>(length, kZeros.size());
      ranges[count] = {const_cast<std::byte*>(kZeros.data()), part};
      offset += part;
      length -= part;
    }
    MVM_TRY(write(start, std::span(ranges).first(count), false));
  }
  return {};
}

}  // namespace mvm::vmm
