// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <charconv>

#include "agent/builtin/builtins.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::agent::builtin {
namespace {

constexpr std::size_t kBuffer = 64 * 1024;

Result<sys::TcpAddress> parse_address(const std::string& text) {
  const std::size_t colon = text.find_last_of(':');
  sys::TcpAddress address;
  const auto bad =
      Error(Errc::kInvalidArgument, "'" + text + "' is not an address of the form IP:PORT");
  if (colon == std::string::npos || colon == 0) return bad;
  address.ip = text.substr(0, colon);
  if (address.ip.size() > 2 && address.ip.front() == '[' && address.ip.back() == ']')
    address.ip = address.ip.substr(1, address.ip.size() - 2);
  const char* end = text.data() + text.size();
  const auto [at, ec] = std::from_chars(text.data() + colon + 1, end, address.port);
  if (ec != std::errc() || at != end || address.port == 0) return bad;
  return address;
}

// One direction: bytes read that are not written yet, and whether more will come.
struct Lane {
  int from;
  int to;
  std::vector<std::byte> buffer = std::vector<std::byte>(kBuffer);
  std::size_t begin = 0;
  std::size_t end = 0;
  bool reading = true;
  bool open = true;

  bool wants_read() const { return open && reading && begin == end; }
  bool wants_write() const { return open && begin < end; }
};

// Tells the other side that no more comes, once everything has been passed on.
void end_lane(Lane& lane) {
  lane.open = false;
  if (lane.to == 1) {
    ::close(1);
  } else {
    ::shutdown(lane.to, SHUT_WR);
  }
}

// Moves what can be moved without blocking. Errors: a broken connection.
Result<> move(Lane& lane, short from_events, short to_events) {
  if (lane.wants_read() && from_events != 0) {
    const auto got = sys::read_some(lane.from, lane.buffer);
    if (!got && got.error().errnum() == EAGAIN) return {};
    if (!got) return got.error();
    lane.begin = 0;
    lane.end = *got;
    lane.reading = *got > 0;
  }
  if (lane.wants_write() && (to_events != 0 || from_events != 0)) {
    const auto put =
        sys::write_some(lane.to, std::span(lane.buffer).subspan(lane.begin, lane.end - lane.begin));
    if (!put &&
        put.error().errnum() == EPIPE) {  // that reader has gone; the other direction may go on
      end_lane(lane);
      return {};
    }
    if (!put && put.error().errnum() != EAGAIN) return put.error();
    if (put) lane.begin += *put;
  }
  if (lane.open && !lane.reading && lane.begin == lane.end) end_lane(lane);
  return {};
}

Result<> relay(int socket) {
  Lane up{0, socket};
  Lane down{socket, 1};
  while (up.open || down.open) {
    // poll() ignores a negative descriptor, and so tells no hang-up that nobody asked for.
    const short socket_events =
        static_cast<short>((down.wants_read() ? POLLIN : 0) | (up.wants_write() ? POLLOUT : 0));
    std::array<pollfd, 3> fds = {pollfd{up.wants_read() ? 0 : -1, POLLIN, 0},
                                 pollfd{down.wants_write() ? 1 : -1, POLLOUT, 0},
                                 pollfd{socket_events != 0 ? socket : -1, socket_events, 0}};
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return Error::from_errno("poll");
    MVM_TRY(move(up, fds[0].revents, fds[2].revents & POLLOUT));
    MVM_TRY(move(down, fds[2].revents & ~POLLOUT, fds[1].revents));
    // Nobody is left to receive the answer, so the question need not go on.
    if (!down.open) return {};
  }
  return {};
}

}  // namespace

Result<> connect(const wire::FileRequest& request) {
  ::signal(SIGPIPE, SIG_IGN);
  const sys::TcpAddress address = MVM_TRY(parse_address(request.path));
  const sys::UniqueFd socket =
      MVM_TRY_CTX(sys::connect_tcp_start(address), "connecting to " + request.path);
  pollfd ready{socket.get(), POLLOUT, 0};
  while (::poll(&ready, 1, -1) < 0 && errno == EINTR) {
  }
  if (const int errnum = sys::socket_error(socket.get()); errnum != 0)
    return Error::from_errno("connect to " + request.path, errnum);
  MVM_TRY(sys::set_nonblocking(1, true));
  MVM_TRY_CTX(relay(socket.get()), "connection to " + request.path);
  return {};
}

}  // namespace mvm::agent::builtin
