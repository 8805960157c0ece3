// SPDX-License-Identifier: Apache-2.0
#include "sys/io.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>

namespace mvm::sys {

Result<UniqueFd> open_file_at(int dir, const std::string& path, int flags, unsigned mode) {
  const int fd = ::openat(dir, path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return Error::from_errno("open " + path);
  return UniqueFd(fd);
}

Result<UniqueFd> open_file(const std::string& path, int flags, unsigned mode) {
  return open_file_at(AT_FDCWD, path, flags, mode);
}

Result<std::size_t> read_some(int fd, std::span<std::byte> into) {
  for (;;) {
    const ssize_t n = ::read(fd, into.data(), into.size());
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno != EINTR) return Error::from_errno("read");
  }
}

Result<std::size_t> read_full(int fd, std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const std::size_t n = MVM_TRY(read_some(fd, into.subspan(done)));
    if (n == 0) break;
    done += n;
  }
  return done;
}

Result<std::size_t> write_some(int fd, std::span<const std::byte> from) {
  for (;;) {
    const ssize_t n = ::write(fd, from.data(), from.size());
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno != EINTR) return Error::from_errno("write");
  }
}

Result<> write_full(int fd, std::span<const std::byte> from) {
  while (!from.empty()) {
    const auto n = write_some(fd, from);
    if (n) {
      from = from.subspan(*n);
    } else if (n.error().errnum() == EAGAIN) {
      pollfd ready{fd, POLLOUT, 0};  // somebody else made the shared descriptor non-blocking
      ::poll(&ready, 1, -1);
    } else {
      return n.error();
    }
  }
  return {};
}

Result<> write_full(int fd, std::string_view text) {
  return write_full(fd, std::as_bytes(std::span(text)));
}

Result<std::string> read_fd(int fd, Bytes limit) {
  std::string text;
  std::array<std::byte, 16384> chunk;
  for (;;) {
    const std::size_t n = MVM_TRY(read_some(fd, chunk));
    if (n == 0) return text;
    if (text.size() + n > limit.count)
      return Error(Errc::kLimit, "input is larger than " + format_size(limit));
    text.append(reinterpret_cast<const char*>(chunk.data()), n);
  }
}

Result<std::string> read_file(const std::string& path, Bytes limit) {
  const UniqueFd fd = MVM_TRY(open_file(path, O_RDONLY));
  return MVM_TRY_CTX(read_fd(fd.get(), limit), "reading " + path);
}

Result<> write_file(const std::string& path, std::string_view text, unsigned mode) {
  const UniqueFd fd = MVM_TRY(open_file(path, O_WRONLY | O_CREAT | O_TRUNC, mode));
  MVM_TRY_CTX(write_full(fd.get(), text), "writing " + path);
  return {};
}

Result<> write_sparse_file(const std::string& path, std::string_view text, unsigned mode) {
  constexpr std::size_t kBlock = 4096;
  const UniqueFd fd = MVM_TRY(open_file(path, O_WRONLY | O_CREAT | O_TRUNC, mode));
  if (::ftruncate(fd.get(), static_cast<off_t>(text.size())) != 0)
    return Error::from_errno("size of " + path);
  const auto is_zero = [&](std::size_t at) {
    return text.substr(at, kBlock).find_first_not_of('\0') == std::string_view::npos;
  };
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && !is_zero(end)) end += kBlock;
    const std::string_view run = text.substr(at, end - at);
    MVM_TRY_CTX(write_at(fd.get(), std::as_bytes(std::span(run)), at), "writing " + path);
    at = end;
    while (at < text.size() && is_zero(at)) at += kBlock;
  }
  return {};
}

namespace {

Result<> copy_range(int from, int to, off_t begin, off_t end) {
  while (begin < end) {
    off_t out = begin;
    const ssize_t n =
        ::copy_file_range(from, &begin, to, &out, static_cast<std::size_t>(end - begin), 0);
    if (n > 0) continue;
    if (n == 0) return {};
    if (errno == EINTR) continue;
    if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
      return Error::from_errno("copy_file_range");
    std::array<std::byte, 65536> chunk;
    const std::size_t want =
        std::min<std::size_t>(chunk.size(), static_cast<std::size_t>(end - begin));
    const ssize_t got = ::pread(from, chunk.data(), want, begin);
    if (got < 0) return Error::from_errno("read");
    if (got == 0) return {};
    if (::pwrite(to, chunk.data(), static_cast<std::size_t>(got), begin) != got)
      return Error::from_errno("write");
    begin += got;
  }
  return {};
}

}  // namespace

Result<> copy_sparse(int from, int to, Bytes size) {
  const auto end = static_cast<off_t>(size.count);
  struct stat st;
  if (::fstat(from, &st) == 0 && st.st_size == end && ::ioctl(to, FICLONE, from) == 0) return {};
  if (::ftruncate(to, end) != 0) return Error::from_errno("ftruncate");
  off_t at = 0;
  while (at < end) {
    const off_t data = ::lseek(from, at, SEEK_DATA);
    if (data < 0) {
      if (errno == ENXIO) return {};
      return copy_range(from, to, at, end);
    }
    const off_t hole = ::lseek(from, data, SEEK_HOLE);
    if (hole < 0) return Error::from_errno("lseek");
    MVM_TRY(copy_range(from, to, data, std::min(hole, end)));
    at = hole;
  }
  return {};
}

Result<> copy_file(int from, const std::string& to, unsigned mode) {
  const UniqueFd target = MVM_TRY(open_file(to, O_WRONLY | O_CREAT | O_EXCL, mode));
  struct stat st;
  if (::fstat(from, &st) != 0) return Error::from_errno("stat");
  return copy_sparse(from, target.get(), Bytes{static_cast<std::uint64_t>(st.st_size)});
}

Result<> wait_readable(int fd, const Deadline& deadline) {
  pollfd entry{fd, POLLIN, 0};
  for (;;) {
    const int n = ::poll(&entry, 1, deadline.poll_timeout());
    if (n > 0) return {};
    if (n == 0) return deadline.error();
    if (errno != EINTR) return Error::from_errno("poll");
  }
}

Result<> set_nonblocking(int fd, bool on) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return Error::from_errno("fcntl");
  if (::fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) != 0)
    return Error::from_errno("fcntl");
  return {};
}

Result<UniqueFd> duplicate(int fd) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return Error::from_errno("dup");
  return UniqueFd(copy);
}

std::size_t unread_bytes(int fd) {
  int count = 0;
  return ::ioctl(fd, FIONREAD, &count) == 0 && count > 0 ? static_cast<std::size_t>(count) : 0;
}

Result<> write_at(int fd, std::span<const std::byte> bytes, std::size_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error::from_errno("pwrite", n == 0 ? ENOSPC : errno);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::size_t>(n);
  }
  return {};
}

Result<Pipe> make_pipe(std::size_t capacity) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return Error::from_errno("pipe");
  if (capacity > 0) (void)::fcntl(fds[1], F_SETPIPE_SZ, static_cast<int>(capacity));
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<UniqueFd> memory_file(const char* name, std::string_view text) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC));
  if (!fd) return Error::from_errno("memfd_create");
  MVM_TRY(write_full(fd.get(), text));
  if (::lseek(fd.get(), 0, SEEK_SET) != 0) return Error::from_errno("lseek");
  return fd;
}

bool path_exists(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0;
}

Result<> make_dirs(const std::string& path, unsigned mode) {
  if (::mkdir(path.c_str(), mode) == 0) return {};
  if (errno == ENOENT) {
    const std::size_t slash = path.find_last_of('/');
    if (slash == std::string::npos || slash == 0) return Error::from_errno("mkdir " + path);
    MVM_TRY(make_dirs(path.substr(0, slash), mode));
    if (::mkdir(path.c_str(), mode) == 0) return {};
  }
  if (errno == EEXIST) {
    struct stat st;
    if (::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return {};
    errno = ENOTDIR;
  }
  return Error::from_errno("mkdir " + path);
}

namespace {

Result<> from_code(const std::error_code& ec, const std::string& what) {
  if (!ec) return {};
  return Error::from_errno(what, ec.value());
}

}  // namespace

std::vector<std::string> children(const std::string& directory) {
  namespace fs = std::filesystem;
  std::vector<std::string> out;
  std::error_code ec;
  for (auto it = fs::directory_iterator(directory, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    out.push_back(it->path().string());
  }
  return out;
}

Result<> remove_tree(const std::string& path) {
  std::error_code ec;
  std::filesystem::remove_all(path, ec);
  return from_code(ec, "remove " + path);
}

Result<Bytes> disk_usage(const std::string& path) {
  namespace fs = std::filesystem;
  std::uint64_t total = 0;
  std::error_code ec;
  struct stat st;
  if (::lstat(path.c_str(), &st) == 0) total += static_cast<std::uint64_t>(st.st_blocks) * 512;
  for (auto it = fs::recursive_directory_iterator(path, ec);
       !ec && it != fs::recursive_directory_iterator(); it.increment(ec)) {
    if (::lstat(it->path().c_str(), &st) == 0)
      total += static_cast<std::uint64_t>(st.st_blocks) * 512;
  }
  if (ec && ec.value() != ENOENT && ec.value() != ENOTDIR) MVM_TRY(from_code(ec, "walk " + path));
  return Bytes{total};
}

}  // namespace mvm::sys
