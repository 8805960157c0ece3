// SPDX-License-Identifier: Apache-2.0
#include "vmm/loader/file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace mvm::vmm {
namespace {

// The next stretch of data in [offset, end): holes are zeros that need not be read.
struct Extent {
  std::uint64_t start;
  std::uint64_t end;
};

Extent next_data(int fd, std::uint64_t offset, std::uint64_t end) {
  const off_t data = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0) return errno == ENXIO ? Extent{end, end} : Extent{offset, end};
  const off_t hole = ::lseek(fd, data, SEEK_HOLE);
  const std::uint64_t start = std::min(static_cast<std::uint64_t>(data), end);
  // A file that shrinks meanwhile has no hole any more: the read will tell.
  if (hole <= data) return {start, end};
  return {start, std::min(static_cast<std::uint64_t>(hole), end)};
}

}  // namespace

Result<LoaderFile> LoaderFile::open(int fd, const std::string& name, Bytes limit) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return Error::from_errno("stat " + name);
  if (!S_ISREG(status.st_mode))
    return Error(Errc::kInvalidArgument, name + ": is not a regular file");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > limit.count)
    return Error(Errc::kLimit, name + ": has " + format_size(Bytes{size}) + ", at most " +
                                   format_size(limit) + " are loaded");
  return LoaderFile(fd, name, size);
}

Result<> LoaderFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  if (!has(offset, into.size()))
    return corrupt("ends at byte " + std::to_string(size_) + ", but " +
                   std::to_string(into.size()) + " bytes are expected at " +
                   std::to_string(offset));
  while (!into.empty()) {
    const ssize_t count = ::pread(fd_, into.data(), into.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error::from_errno("read " + name_);
    if (count == 0) return corrupt("was cut short while it was being read");
    into = into.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<> LoaderFile::load(const GuestMemory& memory, Gpa gpa, std::uint64_t offset,
                          std::uint64_t length) const {
  const auto range = memory.slice(gpa, length);
  if (!range) return Error(Errc::kLimit, name_ + ": does not fit into the guest's memory");
  if (!has(offset, length)) return corrupt("content lies outside of the file");
  const std::uint64_t end = offset + length;
  for (std::uint64_t at = offset; at < end;) {
    const Extent data = next_data(fd_, at, end);
    MVM_TRY(read(data.start, range->subspan(data.start - offset, data.end - data.start)));
    at = data.end;
  }
  memory.mark_dirty(gpa, length);
  return {};
}

}  // namespace mvm::vmm
