// SPDX-License-Identifier: Apache-2.0
#include "sys/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "sys/io.h"

namespace mvm::sys {
namespace {

// A unix address whose path always fits: a long one is reached through an open descriptor of its
// directory.
struct UnixAddress {
  sockaddr_un address{};
  UniqueFd directory;
};

Result<UnixAddress> unix_address(const std::string& path) {
  UnixAddress out;
  out.address.sun_family = AF_UNIX;
  std::string name = path;
  if (name.size() >= sizeof out.address.sun_path) {
    const std::size_t slash = path.find_last_of('/');
    out.directory = MVM_TRY(open_file(path.substr(0, slash), O_PATH | O_DIRECTORY));
    name = "/proc/self/fd/" + std::to_string(out.directory.get()) + path.substr(slash);
  }
  if (name.size() >= sizeof out.address.sun_path)
    return Error(Errc::kInvalidArgument, "socket name " + path + " is too long");
  std::memcpy(out.address.sun_path, name.c_str(), name.size() + 1);
  return out;
}

struct InetAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Result<InetAddress> inet_address(const TcpAddress& address) {
  InetAddress out;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  if (::inet_pton(AF_INET, address.ip.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    out.length = sizeof *v4;
    return out;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (::inet_pton(AF_INET6, address.ip.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    out.length = sizeof *v6;
    return out;
  }
  return Error(Errc::kInvalidArgument, "'" + address.ip + "' is not an IP address");
}

std::string name_of(const TcpAddress& address) {
  return address.ip + ":" + std::to_string(address.port);
}

Result<UniqueFd> bind_socket(const TcpAddress& address, int type) {
  const InetAddress inet = MVM_TRY(inet_address(address));
  UniqueFd fd(::socket(inet.storage.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::from_errno("socket");
  const int on = 1;
  if (type == SOCK_STREAM) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), inet.get(), inet.length) != 0)
    return Error::from_errno("bind " + name_of(address));
  return fd;
}

}  // namespace

Result<SocketPair> make_socket_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
    return Error::from_errno("socketpair");
  return SocketPair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<UniqueFd> listen_unix(const std::string& path) {
  const UnixAddress address = MVM_TRY(unix_address(path));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::from_errno("socket");
  // The mode of the socket file is that of the descriptor's inode at bind time (unix(7)).
  ::fchmod(fd.get(), 0600);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.address),
             sizeof address.address) != 0)
    return Error::from_errno("bind " + path);
  if (::listen(fd.get(), 128) != 0) return Error::from_errno("listen " + path);
  return fd;
}

namespace {

Result<UniqueFd> connect_to(const UnixAddress& address, const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno("socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.address),
                sizeof address.address) != 0) {
    Error error = Error::from_errno("connect " + path);
    if (error.errnum() == ECONNREFUSED) return std::move(error).with_code(Errc::kNotFound);
    return error;
  }
  return fd;
}

}  // namespace

Result<UniqueFd> connect_unix(const std::string& path) {
  return connect_to(MVM_TRY(unix_address(path)), path);
}

Result<UniqueFd> connect_unix_nofollow(const std::string& path) {
  const UniqueFd place = MVM_TRY(open_file(path, O_PATH | O_NOFOLLOW));
  struct stat st;
  if (::fstat(place.get(), &st) != 0) return Error::from_errno(path);
  if (!S_ISSOCK(st.st_mode)) return Error(Errc::kCorrupt, path + " is not a socket");
  return connect_to(MVM_TRY(unix_address("/proc/self/fd/" + std::to_string(place.get()))), path);
}

Result<UniqueFd> accept_connection(int listener) {
  const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return Error::from_errno("accept");
  return UniqueFd(fd);
}

void raise_send_buffer(int fd, std::size_t bytes) {
  const int size = static_cast<int>(bytes);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

Result<> send_fds(int socket, std::string_view text, std::span<const int> fds) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxMessageFds * sizeof(int))> control{};
  if (fds.size() > kMaxMessageFds) return Error(Errc::kLimit, "too many descriptors to send");
  iovec data{const_cast<char*>(text.data()), text.size()};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return Error::from_errno("sendmsg");
  if (static_cast<std::size_t>(sent) != text.size())
    return Error(Errc::kIo, "a message with descriptors did not go whole");
  return {};
}

Result<Message> receive_fds(int socket) {
  std::array<char, 4096> text;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxMessageFds * sizeof(int))> control{};
  iovec data{text.data(), text.size()};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return Error::from_errno("recvmsg");
  Message out{std::string(text.data(), static_cast<std::size_t>(got)), {}};
  for (cmsghdr* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
    if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
    std::array<int, kMaxMessageFds> fds{};
    const std::size_t bytes = std::min(h->cmsg_len - CMSG_LEN(0), sizeof fds);
    std::memcpy(fds.data(), CMSG_DATA(h), bytes);
    for (std::size_t i = 0; i < bytes / sizeof(int); ++i) out.fds.emplace_back(fds[i]);
  }
  return out;
}

Result<uid_t> peer_uid(int fd) {
  ucred cred{};
  socklen_t size = sizeof cred;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) != 0)
    return Error::from_errno("getsockopt");
  return cred.uid;
}

Result<UniqueFd> listen_tcp(const TcpAddress& address) {
  UniqueFd fd = MVM_TRY(bind_socket(address, SOCK_STREAM));
  if (::listen(fd.get(), 128) != 0) return Error::from_errno("listen " + name_of(address));
  return fd;
}

Result<UniqueFd> bind_udp(const TcpAddress& address) { return bind_socket(address, SOCK_DGRAM); }

Result<std::uint16_t> bound_port(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0)
    return Error::from_errno("getsockname");
  // sin_port and sin6_port lie at the same offset.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

Result<UniqueFd> connect_tcp_start(const TcpAddress& address) {
  const InetAddress inet = MVM_TRY(inet_address(address));
  UniqueFd fd(::socket(inet.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::from_errno("socket");
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd.get(), inet.get(), inet.length) != 0 && errno != EINPROGRESS)
    return Error::from_errno("connect " + name_of(address));
  return fd;
}

int socket_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

}  // namespace mvm::sys
