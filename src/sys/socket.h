// SPDX-License-Identifier: Apache-2.0
// Unix and TCP sockets, as much of them as mvm needs.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "sys/unique_fd.h"

namespace mvm::sys {

struct SocketPair {
  UniqueFd first;
  UniqueFd second;
};

// A connected pair of unix stream sockets.
Result<SocketPair> make_socket_pair();

// Listens on a unix socket path; mode 0600. Paths over 107 bytes go through /proc/self/fd of their
// directory.
Result<UniqueFd> listen_unix(const std::string& path);
// Errors: kNotFound when nobody listens there.
Result<UniqueFd> connect_unix(const std::string& path);
// The same where somebody weaker may write in the directory: a symbolic link in the socket's place,
// to a socket that only we may open, is not followed. Needs /proc. Errors: also kCorrupt.
Result<UniqueFd> connect_unix_nofollow(const std::string& path);
// The next connection of a non-blocking listener. Errors: errno EAGAIN when there is none.
Result<UniqueFd> accept_connection(int listener);

// Lets a sender get `bytes` ahead of its reader, as far as the system's own limit (wmem_max)
// allows; nothing happens to what is no socket. The default lets a unix stream run dry: a blocked
// sender is woken only when three quarters are read. Source: socket(7), SO_SNDBUF.
void raise_send_buffer(int fd, std::size_t bytes);

// Effective uid of the process at the other end. Source: unix(7), SO_PEERCRED.
Result<uid_t> peer_uid(int fd);

// One message with descriptors; the receiver gets copies. At most kMaxMessageFds.
// Source: unix(7), SCM_RIGHTS. Errors: kIo when it did not go whole.
constexpr std::size_t kMaxMessageFds = 16;
Result<> send_fds(int socket, std::string_view text, std::span<const int> fds);
struct Message {
  std::string text;  // empty: the other end is closed
  std::vector<UniqueFd> fds;
};
// The next one, of at most 4 KiB; waits for it where the socket does. Errors: recvmsg's.
Result<Message> receive_fds(int socket);

struct TcpAddress {
  std::string ip;  // numeric IPv4 or IPv6
  std::uint16_t port = 0;
};

// Binds to the address; port 0 takes a free one (read back by bound_port). Errors: kBusy names
// address and port.
Result<UniqueFd> listen_tcp(const TcpAddress& address);
Result<UniqueFd> bind_udp(const TcpAddress& address);
Result<std::uint16_t> bound_port(int fd);
// Starts a non-blocking connect; completion shows as EPOLLOUT, its outcome by socket_error().
Result<UniqueFd> connect_tcp_start(const TcpAddress& address);
// SO_ERROR: 0 or an errno.
int socket_error(int fd);

}  // namespace mvm::sys
