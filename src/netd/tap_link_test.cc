// SPDX-License-Identifier: Apache-2.0
#include "netd/tap_link.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "netd/testing_guest.h"
#include "sys/io.h"
#include "sys/process.h"

namespace mvm::netd {
namespace {

using ::testing::HasSubstr;
using namespace testing;

constexpr std::size_t kHeader = sizeof(PacketHeader);

// What a VMM does, in the namespaces that it is started in. Whether it could.
bool open_in_namespaces(std::span<const int> namespaces, const std::string& name, int answer) {
  for (const int fd : namespaces) {
    if (::setns(fd, 0) != 0) return false;
  }
  const sys::UniqueFd tap(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request{};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) return false;
  return sys::send_fds(answer, "tap", std::array{tap.get()}).has_value();
}

// Invalid when it could not be opened.
sys::UniqueFd open_tap(std::span<const int> namespaces, const std::string& name) {
  sys::SocketPair pair = sys::make_socket_pair().value();
  const pid_t child = ::fork();
  if (child == 0) ::_exit(open_in_namespaces(namespaces, name, pair.second.get()) ? 0 : 1);
  pair.second.reset();
  auto got = sys::receive_fds(pair.first.get()).value();
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  return got.fds.empty() ? sys::UniqueFd() : std::move(got.fds.front());
}

std::vector<int> namespaces_of(const TapLink& link) {
  std::vector<int> out;
  if (link.user_namespace) out.push_back(link.user_namespace.get());
  out.push_back(link.network_namespace.get());
  return out;
}

bool readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, 5000) == 1;
}

void write_frame(int tap, const PacketHeader& header, const Bytes& frame) {
  Bytes out(kHeader);
  std::memcpy(out.data(), &header, kHeader);
  append(out, frame);
  ASSERT_EQ(::write(tap, out.data(), out.size()), static_cast<ssize_t>(out.size()));
}

Bytes read_frame(int tap) {
  Bytes out(kHeader + kMaxFrame);
  if (!readable(tap)) return {};
  const ssize_t n = ::read(tap, out.data(), out.size());
  out.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
  if (!out.empty()) out.erase(out.begin(), out.begin() + kHeader);
  return out;
}

class TapLinkTest : public ::testing::Test {
 protected:
  TapLink link = make_tap_link("mvm0", ::geteuid()).value();
  sys::UniqueFd tap = open_tap(namespaces_of(link), "mvm0");
  PacketChannel channel{link.packets.get()};

  std::vector<Bytes> received() {
    std::vector<Bytes> out;
    EXPECT_TRUE(readable(link.packets.get()));
    EXPECT_TRUE(channel
                    .receive([&](std::span<const std::byte> frame) {
                      out.emplace_back(frame.begin(), frame.end());
                    })
                    .value());
    return out;
  }
};

TEST_F(TapLinkTest, CarriesFramesBothWays) {
  ASSERT_TRUE(static_cast<bool>(tap));
  write_frame(tap.get(), {}, arp(1, kRouterIp));
  EXPECT_EQ(received(), std::vector<Bytes>{arp(1, kRouterIp)});
  ASSERT_TRUE(channel.send(arp(2, kGuestIp)));
  EXPECT_EQ(read_frame(tap.get()), arp(2, kGuestIp));
  EXPECT_EQ(channel.dropped(), 0U);
}

TEST_F(TapLinkTest, TheGuestsMissingChecksumIsFilledIn) {
  ASSERT_TRUE(static_cast<bool>(tap));
  const Bytes whole = tcp(kRouterIp, {40'000, 80, 1000, 0, 2, bytes_of({1, 2, 3})});
  // As a kernel leaves it: the sum of the pseudo header alone.
  Bytes pseudo;
  append32(pseudo, kGuestIp);
  append32(pseudo, kRouterIp);
  append16(pseudo, 6);
  append16(pseudo, static_cast<unsigned>(whole.size() - 34));
  Bytes partial = whole;
  put16(partial, 34 + 16, ~checksum(pseudo) & 0xffff);
  PacketHeader header;
  header.flags = PacketHeader::kNeedsChecksum;
  header.checksum_start = 34;
  header.checksum_offset = 16;
  write_frame(tap.get(), header, partial);
  EXPECT_EQ(received(), std::vector<Bytes>{whole});
}

// The kernel of the namespace would else look for routers and neighbours of its own.
TEST_F(TapLinkTest, NobodyElseSpeaksOnTheDevice) {
  ASSERT_TRUE(static_cast<bool>(tap));
  write_frame(tap.get(), {}, arp(1, kGuestIp));
  EXPECT_EQ(received().size(), 1U);
  pollfd entry{tap.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 300), 0);
}

TEST_F(TapLinkTest, WhatTheDeviceHasNoRoomForIsDropped) {
  ASSERT_TRUE(static_cast<bool>(tap));
  std::uint64_t sent = 0;
  for (int i = 0; i < 20'000 && channel.dropped() == 0; ++i)
    sent += channel.send(Bytes(1514)) ? 1U : 0U;
  SCOPED_TRACE(sent);
  // A full device drops in silence or says so; never does it block us.
  EXPECT_GT(sent, 100U);
}

TEST(TapLink, ANameThatNoDeviceCanHaveIsRefused) {
  EXPECT_EQ(make_tap_link("", 0).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(make_tap_link("sixteen-letters-", 0).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(make_tap_link("a/b", 0).error().code(), Errc::kInvalidArgument);
}

TEST(TapLink, NothingOfItIsInOurOwnNamespace) {
  const TapLink link = make_tap_link("mvmtest7", ::geteuid()).value();
  EXPECT_NE(::access("/sys/class/net/mvmtest7", F_OK), 0);
}

TEST(Checksum, OutsideOfTheFrameIsNotWritten) {
  Bytes frame(20);
  EXPECT_TRUE(complete_checksum(frame, 0, 18));
  EXPECT_FALSE(complete_checksum(frame, 0, 19));
  EXPECT_FALSE(complete_checksum(frame, 21, 0));
  EXPECT_FALSE(complete_checksum(frame, 65'535, 65'535));
}

TEST(Checksum, IsNeverZeroWhichWouldMeanThatThereIsNone) {
  Bytes frame = bytes_of({0xff, 0xff, 0, 0});
  ASSERT_TRUE(complete_checksum(frame, 0, 2));
  EXPECT_EQ(at16(frame, 2), 0xffffU);
}

TEST(Checksum, OfAnOddNumberOfBytesTakesAZeroAfterThem) {
  Bytes frame = bytes_of({0, 0, 0x12, 0x34, 0x56});
  ASSERT_TRUE(complete_checksum(frame, 0, 0));
  EXPECT_EQ(at16(frame, 0), 0xffffU & ~(0x1234U + 0x5600U));
}

// The whole program.
TEST(NetdOnATap, HandsOverItsNamespaceAndAnswersTheGuest) {
  sys::SocketPair pair = sys::make_socket_pair().value();
  sys::Command command;
  command.argv = {MVM_NETD, "--fd", "3", "--tap", "mvm0"};
  command.fds = {{pair.second.get(), 3}};
  command.die_with_parent = true;
  sys::Child child = sys::spawn(command).value();
  pair.second.reset();
  const sys::Message up = sys::receive_fds(pair.first.get()).value();
  ASSERT_EQ(up.text, "ready\n");
  std::vector<int> namespaces;
  for (const sys::UniqueFd& fd : up.fds) namespaces.push_back(fd.get());
  const sys::UniqueFd tap = open_tap(namespaces, "mvm0");
  ASSERT_TRUE(static_cast<bool>(tap));
  write_frame(tap.get(), {}, arp(1, kRouterIp));
  EXPECT_TRUE(is_arp(read_frame(tap.get()), 2));
  pair.first.reset();
  EXPECT_TRUE(child.wait(Deadline::after(Millis(10'000), "the end of mvm-netd")).value().ok());
}

TEST(NetdOnATap, SaysWhyItCannotBeMade) {
  sys::Command command;
  command.argv = {MVM_NETD, "--fd", "3", "--tap", "a/b"};
  const auto output = sys::run(command).value();
  EXPECT_EQ(output.status.code, 1);
  EXPECT_THAT(output.err, HasSubstr("'a/b' cannot be the name of a tap device"));
}

}  // namespace
}  // namespace mvm::netd
