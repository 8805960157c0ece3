// SPDX-License-Identifier: Apache-2.0
#include "netd/serve.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

#include "netd/testing_guest.h"
#include "sys/io.h"
#include "sys/process.h"
#include "vmm/jail/testing_child.h"

namespace mvm::netd {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using namespace testing;

constexpr int kFd = 3;
constexpr int kReadyFd = 4;

struct Netd {
  explicit Netd(std::vector<std::string> more = {}) {
    sys::SocketPair pair = sys::make_socket_pair().value();
    sys::Pipe ready_pipe = sys::make_pipe().value();
    sys::Pipe errors_pipe = sys::make_pipe().value();
    sys::Command command;
    command.argv = {MVM_NETD, "--fd", std::to_string(kFd), "--ready-fd", std::to_string(kReadyFd)};
    command.argv.insert(command.argv.end(), more.begin(), more.end());
    command.fds = {{pair.second.get(), kFd},
                   {ready_pipe.write_end.get(), kReadyFd},
                   {errors_pipe.write_end.get(), 2}};
    command.die_with_parent = true;
    child = sys::spawn(command).value();
    guest.emplace(std::move(pair.first));
    ready = std::move(ready_pipe.read_end);
    errors = std::move(errors_pipe.read_end);
  }
  // Until the descriptor is closed: by the program once it is up, or by its end.
  std::string readiness() const { return sys::read_fd(ready.get()).value(); }
  int exit_code() {
    return child.wait(Deadline::after(Millis(10'000), "the end of mvm-netd")).value().shell_code();
  }
  std::string message() const { return sys::read_fd(errors.get()).value(); }

  sys::Child child;
  std::optional<Guest> guest;
  sys::UniqueFd ready;
  sys::UniqueFd errors;
};

sys::UniqueFd loopback_listener() { return sys::listen_tcp({"127.0.0.1", 0}).value(); }

bool readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, 5000) == 1;
}

std::string read_text(int fd) {
  std::array<std::byte, 256> buffer;
  if (!readable(fd)) return "nothing came";
  const std::size_t size = sys::read_some(fd, buffer).value();
  return {reinterpret_cast<const char*>(buffer.data()), size};
}

Bytes text_bytes(std::string_view text) {
  const auto raw = std::as_bytes(std::span(text));
  return {raw.begin(), raw.end()};
}

Bytes dhcp_discover() {
  Bytes bootp = bytes_of({1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0, 0});
  bootp.resize(28);
  append(bootp, kGuestMac);
  bootp.resize(236);
  append(bootp, bytes_of({0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255}));
  bootp.resize(300);
  Bytes udp;
  append16(udp, 68);
  append16(udp, 67);
  append16(udp, static_cast<unsigned>(8 + bootp.size()));
  append16(udp, 0);
  append(udp, bootp);
  return ipv4(17, 0, 0xffffffff, udp);
}

TEST(Netd, SaysThatItIsReadyOnce) {
  Netd netd;
  EXPECT_EQ(netd.readiness(), "ready\n");
}

TEST(Netd, EndsWellWhenThePeerCloses) {
  Netd netd;
  EXPECT_EQ(netd.readiness(), "ready\n");
  netd.guest->close();
  EXPECT_EQ(netd.exit_code(), 0);
  EXPECT_EQ(netd.message(), "");
}

TEST(Netd, AnswersArpForTheRouter) {
  Netd netd;
  netd.guest->send(arp(1, kRouterIp));
  const auto reply = netd.guest->await([](const Bytes& frame) { return is_arp(frame, 2); });
  ASSERT_TRUE(reply);
  EXPECT_EQ(at32(*reply, 28), kRouterIp);
  EXPECT_EQ(at32(*reply, 38), kGuestIp);
}

TEST(Netd, OffersTheAddressesOfQemuUserNetworkByDhcp) {
  Netd netd;
  netd.guest->send(dhcp_discover());
  const auto offer = netd.guest->await(is_udp);
  ASSERT_TRUE(offer);
  EXPECT_EQ(at32(*offer, 14 + 20 + 8 + 16), kGuestIp);  // yiaddr
  // Options 3 (router) and 6 (name server) with their addresses.
  const std::string raw(reinterpret_cast<const char*>(offer->data()), offer->size());
  EXPECT_THAT(raw, HasSubstr(std::string("\x03\x04\x0a\x00\x02\x02", 6)));
  EXPECT_THAT(raw, HasSubstr(std::string("\x06\x04\x0a\x00\x02\x03", 6)));
}

TEST(Netd, CarriesTheGuestsConnectionToTheHostsLoopback) {
  const sys::UniqueFd listener = loopback_listener();
  const std::uint16_t port = sys::bound_port(listener.get()).value();
  Netd netd;
  Guest& guest = *netd.guest;
  guest.send(arp(1, kRouterIp));  // as a kernel does, which also tells our address
  guest.send(tcp(kRouterIp, {40'000, port, 1000, 0, 2, {}}));
  const auto syn_ack = guest.await([](const Bytes& f) { return is_tcp(f) && tcp_flags(f) == 18; });
  ASSERT_TRUE(syn_ack);
  const std::uint32_t next = tcp_sequence(*syn_ack) + 1;
  guest.send(tcp(kRouterIp, {40'000, port, 1001, next, 24, text_bytes("from the guest")}));
  ASSERT_TRUE(readable(listener.get()));
  const sys::UniqueFd connection = sys::accept_connection(listener.get()).value();
  EXPECT_EQ(read_text(connection.get()), "from the guest");
  ASSERT_TRUE(sys::write_full(connection.get(), "from the host"));
  const auto data = guest.await([](const Bytes& f) { return is_tcp(f) && f.size() > 60; });
  ASSERT_TRUE(data);
  const std::string raw(reinterpret_cast<const char*>(data->data()), data->size());
  EXPECT_THAT(raw, HasSubstr("from the host"));
}

TEST(Netd, OffersSegmentsAsLargeAsItsMtu) {
  const sys::UniqueFd listener = loopback_listener();
  const std::uint16_t port = sys::bound_port(listener.get()).value();
  Netd netd({"--mtu", "65520"});
  netd.guest->send(arp(1, kRouterIp));
  netd.guest->send(tcp(kRouterIp, {40'000, port, 1000, 0, 2, {}}));
  const auto syn_ack =
      netd.guest->await([](const Bytes& f) { return is_tcp(f) && tcp_flags(f) == 18; });
  ASSERT_TRUE(syn_ack);
  EXPECT_EQ(at16(*syn_ack, 54), 0x0204U);  // the option for the largest segment
  EXPECT_EQ(at16(*syn_ack, 56), 65'520U - 40U);
}

TEST(Netd, AnswersAClosedPortWithAReset) {
  std::uint16_t port = 0;
  {
    const sys::UniqueFd listener = loopback_listener();
    port = sys::bound_port(listener.get()).value();
  }
  Netd netd;
  netd.guest->send(arp(1, kRouterIp));
  netd.guest->send(tcp(kRouterIp, {40'000, port, 1000, 0, 2, {}}));
  const auto reset =
      netd.guest->await([](const Bytes& f) { return is_tcp(f) && (tcp_flags(f) & 4) != 0; });
  EXPECT_TRUE(reset);
}

TEST(Netd, LetsNothingOutWhenRestricted) {
  const sys::UniqueFd listener = loopback_listener();
  const std::uint16_t port = sys::bound_port(listener.get()).value();
  Netd netd({"--restrict"});
  netd.guest->send(arp(1, kRouterIp));
  netd.guest->send(tcp(kRouterIp, {40'000, port, 1000, 0, 2, {}}));
  const auto answer = netd.guest->await(is_tcp);
  ASSERT_TRUE(answer);
  EXPECT_EQ(tcp_flags(*answer) & 4, 4);  // a reset
  EXPECT_EQ(sys::accept_connection(listener.get()).error().errnum(), EAGAIN);
}

// A port that was free a moment ago.
std::uint16_t free_port() { return sys::bound_port(loopback_listener().get()).value(); }

TEST(Netd, BringsAForwardedTcpConnectionToTheGuest) {
  const std::uint16_t port = free_port();
  Netd netd({"--forward", "tcp:127.0.0.1:" + std::to_string(port) + ":8080"});
  ASSERT_EQ(netd.readiness(), "ready\n");
  const sys::UniqueFd client = sys::connect_tcp_start({"127.0.0.1", port}).value();
  const auto syn = netd.guest->await([](const Bytes& f) { return is_tcp(f) && tcp_flags(f) == 2; });
  ASSERT_TRUE(syn);
  EXPECT_EQ(at32(*syn, 30), kGuestIp);
  EXPECT_EQ(at16(*syn, 36), 8080U);
}

TEST(Netd, BringsAForwardedDatagramToTheGuest) {
  const std::uint16_t port = free_port();
  Netd netd({"--forward", "udp:127.0.0.1:" + std::to_string(port) + ":5353"});
  ASSERT_EQ(netd.readiness(), "ready\n");
  const sys::UniqueFd client = sys::bind_udp({"127.0.0.1", 0}).value();
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::sendto(client.get(), "ping", 4, 0, reinterpret_cast<sockaddr*>(&to), sizeof to), 4);
  const auto datagram = netd.guest->await(is_udp);
  ASSERT_TRUE(datagram);
  EXPECT_EQ(at16(*datagram, 36), 5353U);
  EXPECT_EQ(Bytes(datagram->begin() + 42, datagram->begin() + 46), text_bytes("ping"));
}

TEST(Netd, RefusesAForwardWhosePortIsTakenBeforeItIsReady) {
  const sys::UniqueFd listener = loopback_listener();
  const std::string forward =
      "tcp:127.0.0.1:" + std::to_string(sys::bound_port(listener.get()).value()) + ":80";
  Netd netd({"--forward", forward});
  EXPECT_EQ(netd.readiness(), "");
  EXPECT_EQ(netd.exit_code(), 1);
  EXPECT_EQ(netd.message(), "mvm-netd: error: forward " + forward + ": Address already in use\n");
}

TEST(Netd, EndsWithAReasonWhenAFrameIsTooLong) {
  Netd netd;
  ASSERT_TRUE(sys::write_full(netd.guest->fd(), bytes_of({0xff, 0xff, 0xff, 0xff})));
  EXPECT_EQ(netd.exit_code(), 1);
  EXPECT_THAT(netd.message(), HasSubstr("a frame of 4294967295 bytes came"));
}

TEST(Netd, EndsWithAUsageErrorWhenItIsGivenNonsense) {
  Netd netd({"--forward", "nonsense"});
  EXPECT_EQ(netd.exit_code(), 2);
  EXPECT_THAT(netd.message(), StartsWith("mvm-netd: error: forward 'nonsense'"));
}

vmm::ChildEnd confined(int (*body)()) {
  return vmm::in_child([body](int fd) {
    if (!confine() || !confine_to_serving()) return 99;
    (void)sys::write_full(fd, "confined");
    return body();
  });
}

TEST(NetdFilter, EndsTheProcessThatStartsAProgram) {
  const vmm::ChildEnd end = confined([] { return ::execl("/bin/true", "true", nullptr); });
  EXPECT_EQ(end.said, "confined");
  EXPECT_EQ(end.status.signal, SIGSYS) << end.status.text();
}

TEST(NetdFilter, EndsTheProcessThatOpensAFileForWriting) {
  EXPECT_EQ(confined([] { return ::open("/dev/null", O_RDONLY) < 0 ? 1 : 0; }).status.code, 0);
  EXPECT_EQ(confined([] { return ::open("/dev/null", O_WRONLY); }).status.signal, SIGSYS);
}

TEST(NetdFilter, EndsTheProcessThatMakesASocketOfAnotherKind) {
  EXPECT_EQ(confined([] { return ::socket(AF_INET, SOCK_DGRAM, 0) < 0 ? 1 : 0; }).status.code, 0);
  EXPECT_EQ(confined([] { return ::socket(AF_UNIX, SOCK_STREAM, 0); }).status.signal, SIGSYS);
  EXPECT_EQ(confined([] { return ::socket(AF_PACKET, SOCK_RAW, 0); }).status.signal, SIGSYS);
}

TEST(NetdFilter, IsThatOfTheProgramThatServes) {
  Netd netd;
  ASSERT_EQ(netd.readiness(), "ready\n");
  const std::string status =
      sys::read_file("/proc/" + std::to_string(netd.child.pid()) + "/status").value();
  EXPECT_THAT(status, HasSubstr("\nSeccomp:\t2\n"));
  EXPECT_THAT(status, HasSubstr("\nNoNewPrivs:\t1\n"));
}

TEST(Netd, SurvivesMutatedFramesOfEveryKind) {
  const sys::UniqueFd listener = loopback_listener();
  const std::uint16_t port = sys::bound_port(listener.get()).value();
  Netd netd;
  const std::vector<Bytes> models = {arp(1, kRouterIp), dhcp_discover(),
                                     tcp(kRouterIp, {40'000, port, 1000, 0, 2, {}})};
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    Bytes frame = models[random() % models.size()];
    for (int flips = 0; flips < 4; ++flips)
      frame[random() % frame.size()] = static_cast<std::byte>(random());
    frame.resize(14 + random() % (frame.size() - 13));
    netd.guest->send(frame);
  }
  netd.guest->send(arp(1, kRouterIp));
  EXPECT_TRUE(netd.guest->await([](const Bytes& f) {
    return is_arp(f, 2) && at32(f, 28) == kRouterIp && at32(f, 38) == kGuestIp;
  }));
}

}  // namespace
}  // namespace mvm::netd
