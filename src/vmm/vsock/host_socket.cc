// SPDX-License-Identifier: Apache-2.0
#include "vmm/vsock/host_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::vmm {

Result<BoundSocket> BoundSocket::create(const std::string& path) {
  BoundSocket out;
  if (path.empty()) return Error(Errc::kInvalidArgument, "the vsock's socket path is empty");
  Result<sys::UniqueFd> fd = sys::listen_unix(path);
  if (!fd) {
    if (fd.error().code() != Errc::kBusy) return fd.error();
    return Error(fd.error()).with_hint("remove the file if no other VM uses it");
  }
  out.fd_ = std::move(*fd);
  struct stat facts{};
  if (::lstat(path.c_str(), &facts) != 0) return Error::from_errno("stat " + path);
  out.path_ = path;
  out.device_ = facts.st_dev;
  out.inode_ = facts.st_ino;
  return out;
}

BoundSocket::BoundSocket(BoundSocket&& other) noexcept
    : fd_(std::move(other.fd_)),
      path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_) {}

BoundSocket::~BoundSocket() {
  struct stat facts{};
  if (path_.empty() || ::lstat(path_.c_str(), &facts) != 0) return;
  if (facts.st_dev == device_ && facts.st_ino == inode_) ::unlink(path_.c_str());
}

Result<sys::UniqueFd> connect_now(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  sys::UniqueFd directory;
  std::string name = path;
  if (name.size() >= sizeof address.sun_path) {
    const std::size_t slash = path.find_last_of('/');
    if (slash == std::string::npos)
      return Error(Errc::kInvalidArgument, "socket name " + path + " is too long");
    directory = MVM_TRY(sys::open_file(path.substr(0, slash), O_PATH | O_DIRECTORY));
    name = "/proc/self/fd/" + std::to_string(directory.get()) + path.substr(slash);
  }
  if (name.size() >= sizeof address.sun_path)
    return Error(Errc::kInvalidArgument, "socket name " + path + " is too long");
  std::memcpy(address.sun_path, name.c_str(), name.size() + 1);

  sys::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::from_errno("socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    Error error = Error::from_errno("connect " + path);
    if (error.errnum() == ECONNREFUSED) return std::move(error).with_code(Errc::kNotFound);
    return error;
  }
  return fd;
}

std::optional<std::uint32_t> parse_connect(std::string_view line) {
  constexpr std::string_view kWord = "CONNECT ";
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.size() <= kWord.size()) return std::nullopt;
  const auto upper = [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; };
  if (!std::ranges::equal(line.substr(0, kWord.size()), kWord, {}, upper)) return std::nullopt;
  line.remove_prefix(kWord.size());
  std::uint32_t port = 0;
  const auto [end, failure] = std::from_chars(line.data(), line.data() + line.size(), port);
  if (failure != std::errc() || end != line.data() + line.size()) return std::nullopt;
  return port;
}

}  // namespace mvm::vmm
