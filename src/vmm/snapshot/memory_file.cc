// SPDX-License-Identifier: Apache-2.0
#include "vmm/snapshot/memory_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/io.h"

namespace mvm::vmm {
namespace {

Result<> read_at(int fd, std::span<std::byte> into, std::uint64_t offset, const std::string& path) {
  while (!into.empty()) {
    const ssize_t n = ::pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("read " + path);
    if (n == 0) return Error(Errc::kCorrupt, path + " is truncated");
    into = into.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Error truncated(const std::string& path, std::uint64_t size, std::uint64_t wanted) {
  return Error(Errc::kCorrupt, path + " is truncated: " + std::to_string(size) + " of " +
                                   std::to_string(wanted) + " bytes");
}

}  // namespace

Result<std::uint64_t> regular_file_size(int fd, const std::string& path) {
  struct stat st{};
  if (::fstat(fd, &st) != 0) return Error::from_errno("stat " + path);
  if (!S_ISREG(st.st_mode))
    return Error(Errc::kCorrupt,
                 path + " is not the memory of a snapshot: it is not a regular file");
  return static_cast<std::uint64_t>(st.st_size);
}

Result<sys::UniqueFd> MemoryFile::open_locked(const std::string& path) {
  // Opening must not wait for the other end of a pipe.
  sys::UniqueFd fd = MVM_TRY(sys::open_file(path, O_RDONLY | O_NONBLOCK));
  // A file system without locks has no writers in place either, as far as we can tell.
  if (::flock(fd.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    return Error(Errc::kBusy, path + " is being written by another process");
  return fd;
}

Result<MemoryFile> MemoryFile::from_fd(const std::string& path, sys::UniqueFd fd) {
  const std::uint64_t size = MVM_TRY(regular_file_size(fd.get(), path));
  if (size < 2 * kSnapshotPage || size % kSnapshotPage != 0)
    return Error(Errc::kCorrupt, path + " is not the memory of a snapshot, or is truncated");
  std::array<std::byte, kSnapshotPage> page{};
  MVM_TRY(read_at(fd.get(), page, size - kSnapshotPage, path));
  MemoryTrailer trailer = MVM_TRY(MemoryTrailer::parse(path, page, size));
  return MemoryFile(path, std::move(fd), std::move(trailer));
}

Result<MemoryFile> MemoryFile::open(const std::string& path) {
  return from_fd(path, MVM_TRY(open_locked(path)));
}

Result<MemoryFile> MemoryFile::open_for(const SnapshotInfo& state, const std::string& path) {
  sys::UniqueFd fd = MVM_TRY(open_locked(path));
  const std::uint64_t size = MVM_TRY(regular_file_size(fd.get(), path));
  if (size < state.memory_size.count) return truncated(path, size, state.memory_size.count);
  MemoryFile file = MVM_TRY(from_fd(path, std::move(fd)));
  if (file.trailer_.id != state.memory_id)
    return Error(Errc::kCorrupt, path + " belongs to another snapshot");
  if (file.trailer_.kind != MemoryKind::kFull)
    return Error(Errc::kInvalidArgument, path + " holds only what has changed since its base")
        .with_hint("merge it into its base first");
  if (file.memory_size() != state.memory_size)
    return Error(Errc::kCorrupt, path + " holds " + format_size(file.memory_size()) +
                                     " of memory, the snapshot has " +
                                     format_size(state.memory_size));
  return file;
}

Result<std::vector<std::uint64_t>> MemoryFile::bitmap() const {
  std::vector<std::byte> raw(trailer_.bitmap_size());
  MVM_TRY(read_at(fd(), raw, trailer_.memory_size(), path_));
  if (digest_of({raw}) != trailer_.bitmap)
    return Error(Errc::kCorrupt, path_ + " is damaged: its page bitmap is not what was written");
  const std::uint64_t pages = trailer_.memory_size() / kSnapshotPage;
  std::vector<std::uint64_t> out((pages + 63) / 64);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = load<std::uint64_t>(raw, i * 8);
  if (pages % 64 != 0) out.back() &= (std::uint64_t{1} << pages % 64) - 1;
  return out;
}

bool MemoryFile::is_file_of(int other) const {
  struct stat ours{};
  struct stat theirs{};
  return ::fstat(fd(), &ours) == 0 && ::fstat(other, &theirs) == 0 &&
         ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

}  // namespace mvm::vmm
