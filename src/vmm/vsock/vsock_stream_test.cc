// SPDX-License-Identifier: Apache-2.0
// Streams: credit, the ends of their halves, and bytes in bulk. With and without event indices,
// since each notification that the device does not ask for is withheld.
#include <gtest/gtest.h>

#include "vmm/vsock/testing_vsock.h"
#include "vmm/vsock/vsock_device.h"

namespace mvm::vmm {
namespace {

using testing_vsock::HostEnd;
using testing_vsock::Packet;
using testing_vsock::Rig;

class VsockStream : public testing::TestWithParam<bool> {
 protected:
  // How often the loop wakes up within a fifth of a second.
  int turns_in_a_while() {
    int turns = 0;
    bool passed = false;
    rig.guest.model().after(Millis(200), [&] { passed = true; });
    rig.guest.model().run_until([&] {
      ++turns;
      return passed;
    });
    return turns;
  }
  Rig rig{GetParam()};
  std::uint32_t local = 0;
};
INSTANTIATE_TEST_SUITE_P(EventIndex, VsockStream, testing::Bool());

std::string pattern(std::size_t length, std::uint32_t seed) {
  std::string out(length, '\0');
  for (char& byte : out) byte = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return out;
}

// Takes what the client gets until there is no more for now.
std::string drain(testing_vsock::VsockGuest& guest, HostEnd& client) {
  std::string out;
  while (true) {
    guest.model().turn();
    const std::string part = client.read();
    if (part.empty()) return out;
    out += part;
  }
}

TEST_P(VsockStream, SplitsALargeWriteOverTheGuestsBuffers) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  const std::string sent = pattern(10000, 1);
  client.write(sent);
  std::string got;
  while (got.size() < sent.size()) got += rig.guest.expect().payload;
  EXPECT_EQ(got, sent);
}

TEST_P(VsockStream, FillsBuffersWhoseHeaderLiesApart) {
  (void)rig.guest.activate();
  rig.guest.give(32, 4096 + 44, true);
  HostEnd client = rig.connect(7, &local);
  client.write(pattern(5000, 2));
  const Packet first = rig.guest.expect();
  const Packet second = rig.guest.expect();
  EXPECT_EQ(first.payload.size(), 4096U);
  EXPECT_EQ(first.payload + second.payload, pattern(5000, 2));
}

TEST_P(VsockStream, SendsNoMoreThanTheGuestsCredit) {
  rig.guest.buf_alloc = 10000;
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  client.write(pattern(20000, 3));
  std::size_t got = 0;
  while (got < 10000) got += rig.guest.expect().payload.size();
  rig.guest.model().turn();
  EXPECT_EQ(got, 10000U);
  EXPECT_FALSE(rig.guest.receive());

  rig.guest.fwd_cnt = 10000;
  rig.guest.send(PacketOp::kCreditUpdate, 7, local);
  while (got < 20000) got += rig.guest.expect().payload.size();
  EXPECT_EQ(got, 20000U);
}

TEST_P(VsockStream, AsksForCreditWhenTheGuestDoesNotTell) {
  rig.guest.buf_alloc = 4096;
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  client.write(pattern(5000, 4));
  while (rig.guest.expect().header.op == PacketOp::kData) {
  }
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kCreditRequest);
}

TEST_P(VsockStream, SleepsWhileTheGuestHasNoCredit) {
  rig.guest.buf_alloc = 4096;
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  client.write(pattern(5000, 4));
  while (rig.guest.expect().header.op != PacketOp::kCreditRequest) {
  }
  // Nothing but the ticks.
  EXPECT_LE(turns_in_a_while(), 6);
}

TEST_P(VsockStream, SleepsWhileTheGuestHasNoBuffers) {
  rig.ready(4);
  HostEnd client = rig.connect(7, &local);
  client.write(pattern(100000, 5));
  std::size_t got = 0;
  for (int i = 0; i < 4; ++i) {
    rig.guest.model().run_until([&] {
      const auto packet = rig.guest.receive(true);
      if (packet) got += packet->payload.size();
      return packet.has_value();
    });
  }
  EXPECT_LE(turns_in_a_while(), 3);
  rig.guest.give(32);
  while (got < 100000) got += rig.guest.expect().payload.size();
  EXPECT_EQ(got, 100000U);
}

TEST_P(VsockStream, BuffersWhatASlowClientDoesNotRead) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  std::string sent;
  std::uint32_t seed = 0;
  // No more than the credit that the device tells of.
  std::uint32_t free = Muxer::kLargeBuffer;
  std::uint32_t told = 0;
  while (free >= 32768) {
    const std::string part = pattern(32768, seed++);
    rig.guest.send(PacketOp::kData, 7, local, part);
    sent += part;
    while (const auto packet = rig.guest.receive()) told = packet->header.fwd_cnt;
    free = Muxer::kLargeBuffer - (static_cast<std::uint32_t>(sent.size()) - told);
  }
  EXPECT_EQ(rig.guest.tx_under_way(), 0U);
  EXPECT_GE(sent.size(), Muxer::kLargeBuffer);
  EXPECT_EQ(drain(rig.guest, client), sent);
  while (rig.guest.receive()) {
  }
  rig.guest.send(PacketOp::kCreditRequest, 7, local);
  EXPECT_EQ(rig.guest.expect().header.fwd_cnt, sent.size());
}

TEST_P(VsockStream, ResetsAGuestThatSendsOverItsCredit) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  const std::string part = pattern(65536, 6);
  Packet packet;
  constexpr std::uint32_t kTwice = 2 * Muxer::kLargeBuffer / 65536;
  for (std::uint32_t i = 0; i < kTwice && packet.header.length == 0; ++i) {
    rig.guest.send(PacketOp::kData, 7, local, part);
    while (const auto got = rig.guest.receive()) {
      if (got->header.op == PacketOp::kReset) packet.header.length = 1;
    }
  }
  EXPECT_EQ(packet.header.length, 1U) << "no reset";
  EXPECT_EQ(rig.device->connections(), 0U);
  EXPECT_EQ(rig.device->metrics().conns_killed, 1U);
}

TEST_P(VsockStream, TellsOfCreditOnlyWhenHalfIsUsed) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  for (std::uint32_t sent = 0; sent < Muxer::kLargeBuffer / 2; sent += 65536) {
    rig.guest.send(PacketOp::kData, 7, local, pattern(65536, sent));
    ASSERT_EQ(client.read().size(), 65536U);
  }
  EXPECT_FALSE(rig.guest.receive());
  rig.guest.send(PacketOp::kData, 7, local, "x");
  const auto update = rig.guest.receive();
  ASSERT_TRUE(update);
  EXPECT_EQ(update->header.op, PacketOp::kCreditUpdate);
  EXPECT_EQ(update->header.fwd_cnt, Muxer::kLargeBuffer / 2 + 1);
}

TEST_P(VsockStream, AnswersACreditRequest) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  rig.guest.send(PacketOp::kData, 7, local, "abc");
  rig.guest.send(PacketOp::kCreditRequest, 7, local);
  const Packet update = rig.guest.expect();
  EXPECT_EQ(update.header.op, PacketOp::kCreditUpdate);
  EXPECT_EQ(update.header.fwd_cnt, 3U);
}

TEST_P(VsockStream, EndsTheClientsHalfOnly) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  client.write("question");
  ::shutdown(client.fd(), SHUT_WR);
  EXPECT_EQ(rig.guest.expect().payload, "question");
  const Packet end = rig.guest.expect();
  EXPECT_EQ(end.header.op, PacketOp::kShutdown);
  EXPECT_EQ(end.header.flags, kShutdownSend);
  rig.guest.send(PacketOp::kData, 7, local, "answer");
  EXPECT_EQ(client.read(), "answer");
  rig.guest.send(PacketOp::kShutdown, 7, local, {}, kShutdownBoth);
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
  EXPECT_TRUE(client.at_end());
}

TEST_P(VsockStream, EndsTheGuestsHalfOnly) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  rig.guest.send(PacketOp::kData, 7, local, "question");
  rig.guest.send(PacketOp::kShutdown, 7, local, {}, kShutdownSend);
  EXPECT_EQ(client.read(), "question");
  EXPECT_TRUE(client.at_end());
  client.write("answer");
  EXPECT_EQ(rig.guest.expect().payload, "answer");
}

TEST_P(VsockStream, StopsAClientWhenTheGuestReadsNoMore) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  rig.guest.send(PacketOp::kShutdown, 7, local, {}, kShutdownReceive);
  EXPECT_EQ(::send(client.fd(), "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EPIPE);
  rig.guest.send(PacketOp::kData, 7, local, "still");
  EXPECT_EQ(client.read(), "still");
}

TEST_P(VsockStream, DeliversTheRestOfAClientThatHasClosed) {
  rig.ready(2);
  HostEnd client = rig.connect(7, &local);
  const std::string sent = pattern(50000, 9);
  client.write(sent);
  client.close();
  std::string got;
  Packet packet;
  while ((packet = rig.guest.expect()).header.op == PacketOp::kData) got += packet.payload;
  EXPECT_EQ(got, sent);
  EXPECT_EQ(packet.header.op, PacketOp::kShutdown);
  EXPECT_EQ(packet.header.flags, kShutdownBoth);
  rig.guest.send(PacketOp::kReset, 7, local);
  EXPECT_EQ(rig.device->connections(), 0U);
}

TEST_P(VsockStream, ResetsAGuestThatDoesNotAnswerAShutdown) {
  rig.ready();
  rig.connect(7, &local).close();
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kShutdown);
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
  EXPECT_EQ(rig.device->connections(), 0U);
}

TEST_P(VsockStream, ResetsTheGuestWhenTheClientClosesWithUnreadData) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  rig.guest.send(PacketOp::kData, 7, local, "never read");
  client.write("last words");
  client.close();
  EXPECT_EQ(rig.guest.expect().payload, "last words");
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
  EXPECT_EQ(rig.device->connections(), 0U);
}

TEST_P(VsockStream, WritesAllBeforeAClosedStreamEnds) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  std::string sent;
  for (std::uint32_t i = 0; i < 12; ++i) {
    const std::string part = pattern(32768, i);
    rig.guest.send(PacketOp::kData, 7, local, part);
    sent += part;
  }
  rig.guest.send(PacketOp::kShutdown, 7, local, {}, kShutdownBoth);
  Packet packet;
  while ((packet = rig.guest.expect()).header.op == PacketOp::kCreditUpdate) {
  }
  EXPECT_EQ(packet.header.op, PacketOp::kReset);
  EXPECT_EQ(rig.device->connections(), 0U);
  EXPECT_EQ(drain(rig.guest, client), sent);
  EXPECT_TRUE(client.at_end());
}

TEST_P(VsockStream, TakesTurnsAmongConnections) {
  rig.ready(1);
  std::uint32_t other = 0;
  HostEnd a = rig.connect(1, &local);
  HostEnd b = rig.connect(2, &other);
  a.write(pattern(100000, 1));
  b.write(pattern(100000, 2));
  std::size_t got[3] = {0, 0, 0};
  for (int i = 0; i < 20; ++i) {
    const Packet packet = rig.guest.expect();
    ++got[packet.header.destination_port % 3];
  }
  EXPECT_GE(got[1], 5U);
  EXPECT_GE(got[2], 5U);
}

// Whether `part` is what a repeated `block` has at `offset`.
bool continues(std::string_view block, std::uint64_t offset, std::string_view part) {
  const std::size_t from = offset % block.size();
  const std::size_t first = std::min(part.size(), block.size() - from);
  return part.substr(0, first) == block.substr(from, first) &&
         part.substr(first) == block.substr(0, part.size() - first);
}

constexpr std::uint64_t kTotal = 64 << 20;

TEST_P(VsockStream, Carries64MiBToTheGuest) {
  rig.ready(256);
  HostEnd client = rig.connect(7, &local);
  const std::string block = pattern(1 << 20, 10);
  std::uint64_t written = 0;
  std::uint64_t got = 0;
  bool same = true;
  while (got < kTotal && same) {
    const std::size_t at = written % block.size();
    const std::size_t most = std::min<std::uint64_t>(block.size() - at, kTotal - written);
    const ssize_t n = ::send(client.fd(), block.data() + at, most, MSG_NOSIGNAL);
    if (n > 0) written += static_cast<std::uint64_t>(n);
    rig.guest.model().turn();
    while (const auto packet = rig.guest.receive()) {
      same = same && continues(block, got, packet->payload);
      got += packet->payload.size();
      rig.guest.fwd_cnt = static_cast<std::uint32_t>(got);
    }
    rig.guest.send(PacketOp::kCreditUpdate, 7, local);
  }
  EXPECT_TRUE(same);
  EXPECT_EQ(got, kTotal);
  EXPECT_FALSE(rig.guest.model().failure);
}

TEST_P(VsockStream, Carries64MiBFromTheGuest) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  const std::string block = pattern(1 << 20, 11);
  std::uint64_t sent = 0;
  std::uint64_t got = 0;
  std::uint32_t told = 0;
  bool same = true;
  while (got < kTotal && same) {
    while (sent < kTotal &&
           Muxer::kLargeBuffer - (static_cast<std::uint32_t>(sent) - told) >= (1U << 16)) {
      const std::size_t at = sent % block.size();
      rig.guest.send(PacketOp::kData, 7, local, std::string_view(block).substr(at, 1 << 16));
      sent += 1 << 16;
      while (const auto packet = rig.guest.receive()) {
        ASSERT_EQ(packet->header.op, PacketOp::kCreditUpdate);
        told = packet->header.fwd_cnt;
      }
    }
    const std::string part = client.read();
    same = continues(block, got, part);
    got += part.size();
    rig.guest.model().turn();
    while (const auto packet = rig.guest.receive()) told = packet->header.fwd_cnt;
  }
  EXPECT_TRUE(same);
  EXPECT_EQ(got, kTotal);
}

}  // namespace
}  // namespace mvm::vmm
