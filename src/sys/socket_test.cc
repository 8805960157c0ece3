// SPDX-License-Identifier: Apache-2.0
#include "sys/socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include <array>
#include <vector>

#include "sys/files.h"
#include "sys/io.h"
#include "sys/pty.h"

namespace mvm::sys {
namespace {

using testing::HasSubstr;

class Sockets : public testing::Test {
 protected:
  TempDir dir_ = TempDir::create("/tmp", "mvm-socket-").value();

  bool ready(int fd, short events) {
    pollfd wait{fd, events, 0};
    return ::poll(&wait, 1, 10'000) == 1;
  }
  std::string first_word(int fd) {
    std::array<std::byte, 64> bytes;
    const std::size_t n = read_some(fd, bytes).value();
    return std::string(reinterpret_cast<const char*>(bytes.data()), n);
  }
  // How far a writer gets that nobody reads.
  std::size_t gets_ahead(int fd) {
    EXPECT_TRUE(set_nonblocking(fd, true));
    const std::vector<std::byte> chunk(4096);
    std::size_t total = 0;
    while (const ssize_t n = ::write(fd, chunk.data(), chunk.size())) {
      if (n < 0) break;
      total += static_cast<std::size_t>(n);
    }
    EXPECT_EQ(errno, EAGAIN);
    return total;
  }
  // Sends a word from a client of `path` to its listener.
  std::string through(const std::string& path) {
    const UniqueFd listener = listen_unix(path).value();
    const UniqueFd client = connect_unix(path).value();
    const UniqueFd served = accept_connection(listener.get()).value();
    EXPECT_TRUE(write_full(client.get(), "hello"));
    return first_word(served.get());
  }
};

TEST_F(Sockets, PairIsConnectedBothWays) {
  const SocketPair pair = make_socket_pair().value();
  ASSERT_TRUE(write_full(pair.first.get(), "to"));
  ASSERT_TRUE(write_full(pair.second.get(), "fro"));
  EXPECT_EQ(first_word(pair.second.get()), "to");
  EXPECT_EQ(first_word(pair.first.get()), "fro");
}

TEST_F(Sockets, ARaisedSendBufferLetsASenderGetFurtherAhead) {
  const SocketPair pair = make_socket_pair().value();
  raise_send_buffer(pair.first.get(), 16 << 20);
  EXPECT_GE(gets_ahead(pair.first.get()), gets_ahead(pair.second.get()) * 3 / 2);
}

TEST_F(Sockets, WhatIsNoSocketKeepsItsSendBuffer) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd out(ends[0]);
  const UniqueFd in(ends[1]);
  raise_send_buffer(in.get(), 16 << 20);
  EXPECT_EQ(gets_ahead(in.get()), 65536U);
}

TEST_F(Sockets, UnixPathCarriesData) { EXPECT_EQ(through(dir_.path() + "/s"), "hello"); }

TEST_F(Sockets, UnixPathMayBeLongerThanItsAddress) {
  const std::string deep = dir_.path() + "/" + std::string(100, 'd') + "/" + std::string(100, 'e');
  ASSERT_TRUE(make_dirs(deep));
  EXPECT_EQ(through(deep + "/control.sock"), "hello");
  EXPECT_TRUE(path_exists(deep + "/control.sock"));
}

TEST_F(Sockets, UnixNameThatIsItselfTooLongIsRefused) {
  const std::string path = dir_.path() + "/" + std::string(200, 'n');
  EXPECT_EQ(listen_unix(path).error().code(), Errc::kInvalidArgument);
  EXPECT_THAT(connect_unix(path).error().text(), HasSubstr("too long"));
}

TEST_F(Sockets, UnixSocketIsForItsOwnerAlone) {
  const std::string path = dir_.path() + "/s";
  const UniqueFd listener = listen_unix(path).value();
  struct stat st;
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600U);
}

TEST_F(Sockets, NobodyListeningIsNotFound) {
  const std::string path = dir_.path() + "/s";
  EXPECT_EQ(connect_unix(path).error().code(), Errc::kNotFound);
  (void)listen_unix(path).value();  // leaves the file behind
  EXPECT_EQ(connect_unix(path).error().code(), Errc::kNotFound);
}

TEST_F(Sockets, ALinkInASocketsPlaceIsNotFollowed) {
  const std::string path = dir_.path() + "/s";
  const UniqueFd listener = listen_unix(path).value();
  EXPECT_TRUE(connect_unix_nofollow(path));
  const std::string link = dir_.path() + "/link";
  ASSERT_EQ(::symlink(path.c_str(), link.c_str()), 0);
  EXPECT_TRUE(connect_unix(link));
  EXPECT_EQ(connect_unix_nofollow(link).error().code(), Errc::kCorrupt);
  EXPECT_EQ(connect_unix_nofollow(dir_.path() + "/none").error().code(), Errc::kNotFound);
}

TEST_F(Sockets, DescriptorsGoWithAMessage) {
  SocketPair pair = make_socket_pair().value();
  Pipe pipe = make_pipe().value();
  ASSERT_TRUE(send_fds(pair.first.get(), "two", std::array{pipe.read_end.get(), 0}));
  ASSERT_TRUE(write_full(pipe.write_end.get(), "hello"));
  pipe.write_end.reset();
  const Message got = receive_fds(pair.second.get()).value();
  EXPECT_EQ(got.text, "two");
  ASSERT_EQ(got.fds.size(), 2U);
  EXPECT_EQ(read_fd(got.fds.front().get()).value(), "hello");
  ASSERT_TRUE(send_fds(pair.first.get(), "none", {}));
  EXPECT_TRUE(receive_fds(pair.second.get()).value().fds.empty());
  pair.first.reset();
  EXPECT_EQ(receive_fds(pair.second.get()).value().text, "");
}

TEST_F(Sockets, ListeningTwiceIsRefused) {
  const UniqueFd listener = listen_unix(dir_.path() + "/s").value();
  EXPECT_EQ(listen_unix(dir_.path() + "/s").error().code(), Errc::kBusy);
}

TEST_F(Sockets, AcceptTellsWhenThereIsNobody) {
  const UniqueFd listener = listen_unix(dir_.path() + "/s").value();
  EXPECT_EQ(accept_connection(listener.get()).error().errnum(), EAGAIN);
}

TEST_F(Sockets, PeerOfAPairIsOurselves) {
  const SocketPair pair = make_socket_pair().value();
  EXPECT_EQ(peer_uid(pair.first.get()).value(), ::geteuid());
}

TEST_F(Sockets, TcpTakesAFreePortAndConnects) {
  const UniqueFd listener = listen_tcp({"127.0.0.1", 0}).value();
  const std::uint16_t port = bound_port(listener.get()).value();
  EXPECT_NE(port, 0);
  const UniqueFd client = connect_tcp_start({"127.0.0.1", port}).value();
  ASSERT_TRUE(ready(client.get(), POLLOUT));
  EXPECT_EQ(socket_error(client.get()), 0);
  EXPECT_TRUE(ready(listener.get(), POLLIN));
  EXPECT_TRUE(accept_connection(listener.get()).has_value());
}

TEST_F(Sockets, TakenPortIsBusyAndNamed) {
  const UniqueFd listener = listen_tcp({"127.0.0.1", 0}).value();
  const std::uint16_t port = bound_port(listener.get()).value();
  const Error error = listen_tcp({"127.0.0.1", port}).error();
  EXPECT_EQ(error.code(), Errc::kBusy);
  EXPECT_THAT(error.text(), HasSubstr("127.0.0.1:" + std::to_string(port)));
}

TEST_F(Sockets, TakenUdpPortIsBusy) {
  const UniqueFd socket = bind_udp({"127.0.0.1", 0}).value();
  const std::uint16_t port = bound_port(socket.get()).value();
  EXPECT_EQ(bind_udp({"127.0.0.1", port}).error().code(), Errc::kBusy);
}

TEST_F(Sockets, RefusedConnectionShowsItsErrno) {
  std::uint16_t port = 0;
  {
    const UniqueFd listener = listen_tcp({"127.0.0.1", 0}).value();
    port = bound_port(listener.get()).value();
  }
  const UniqueFd client = connect_tcp_start({"127.0.0.1", port}).value();
  ASSERT_TRUE(ready(client.get(), POLLOUT));
  EXPECT_EQ(socket_error(client.get()), ECONNREFUSED);
}

TEST_F(Sockets, AddressMustBeNumeric) {
  EXPECT_THAT(listen_tcp({"localhost", 80}).error().text(),
              HasSubstr("'localhost' is not an IP address"));
  EXPECT_EQ(listen_tcp({"999.1.1.1", 80}).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(listen_tcp({"", 80}).error().code(), Errc::kInvalidArgument);
}

// The two ends of a pseudo terminal.
struct Terminal {
  UniqueFd master{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
  UniqueFd slave;
  Terminal() {
    ::grantpt(master.get());
    ::unlockpt(master.get());
    slave = open_file(::ptsname(master.get()), O_RDWR | O_NOCTTY).value();
  }
  bool echoes() const {
    termios mode{};
    ::tcgetattr(slave.get(), &mode);
    return (mode.c_lflag & ECHO) != 0;
  }
};

TEST(Pty, TellsTheSizeOfATerminalOnly) {
  const Terminal terminal;
  const winsize size{50, 132, 0, 0};
  ASSERT_EQ(::ioctl(terminal.master.get(), TIOCSWINSZ, &size), 0);
  const auto seen = window_size(terminal.slave.get());
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(seen->rows, 50);
  EXPECT_EQ(seen->columns, 132);
  EXPECT_FALSE(window_size(memory_file("m", "").value().get()).has_value());
}

TEST(Pty, TakesTheUsualSizeForATerminalWithoutOne) {
  const Terminal terminal;
  EXPECT_EQ(window_size(terminal.slave.get())->columns, 80);
}

TEST(Pty, LeavesRawModeAsItFoundTheTerminal) {
  const Terminal terminal;
  ASSERT_TRUE(terminal.echoes());
  {
    const RawMode raw = RawMode::enter(terminal.slave.get()).value();
    EXPECT_FALSE(terminal.echoes());
  }
  EXPECT_TRUE(terminal.echoes());
}

TEST(Pty, RefusesRawModeOfAFile) {
  EXPECT_FALSE(RawMode::enter(memory_file("m", "").value().get()).has_value());
}

}  // namespace
}  // namespace mvm::sys
