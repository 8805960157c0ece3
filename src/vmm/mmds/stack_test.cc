// SPDX-License-Identifier: Apache-2.0
#include "vmm/mmds/stack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "vmm/mmds/tcp_connection.h"
#include "vmm/mmds/testing_client.h"

namespace mvm::vmm {
namespace {

using namespace testing_client;
using std::chrono::seconds;
using ::testing::EndsWith;
using ::testing::StartsWith;

constexpr const char* kGet = "GET /key HTTP/1.1\r\n\r\n";

class MmdsStackTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(service_->put(R"({"key": "value"})")); }

  void input(const Frame& frame) { stack_.input(frame, MmdsStack::Checksum::kWhole, now_); }
  // The next segment of the service's; the client takes note of it.
  Received take(Client& client) {
    Received out = take_apart(stack_.output());
    stack_.pop_output(now_);
    client.expected = out.segment.sequence + out.segment.length();
    return out;
  }
  void connect(Client& client) {
    input(client.send(kTcpSyn));
    take(client);
    input(client.send(kTcpAck));
  }
  // Everything that the service sends, acknowledged as it comes.
  std::string read_all(Client& client) {
    std::string out;
    while (stack_.has_output()) {
      const Received got = take(client);
      out += got.data();
      if (got.segment.length() > 0) input(client.send(kTcpAck));
    }
    return out;
  }
  void pass(Clock::duration time) {
    now_ += time;
    stack_.on_timeout(now_);
  }

  std::shared_ptr<Mmds> service_ = std::make_shared<Mmds>();
  MmdsStack stack_{service_, {}};
  Client client_;
  Clock::time_point now_{seconds(1000)};
};

TEST_F(MmdsStackTest, ClaimsWhatIsForItsAddressOnly) {
  EXPECT_TRUE(stack_.claims(arp_request()));
  EXPECT_TRUE(stack_.claims(client_.segment(kTcpSyn)));
  for (const std::size_t changed : {13UL, 30UL, 33UL}) {
    Frame other = client_.segment(kTcpSyn);
    other[changed] ^= std::byte{1};
    EXPECT_FALSE(stack_.claims(other)) << changed;
  }
  Frame other = arp_request();
  other[41] ^= std::byte{1};
  EXPECT_FALSE(stack_.claims(other));
  EXPECT_FALSE(stack_.claims(FrameBytes(client_.segment(kTcpSyn)).first(33)));
  EXPECT_FALSE(stack_.claims({}));
}

TEST_F(MmdsStackTest, AnswersArp) {
  input(arp_request());
  ASSERT_TRUE(stack_.has_output());
  const auto reply = stack_.output();
  EXPECT_EQ(ether_type(reply), kEtherArp);
  EXPECT_EQ(ether_source(reply), kServiceMac);
}

TEST_F(MmdsStackTest, OpensAConnectionInThreeSteps) {
  input(client_.send(kTcpSyn));
  const Received syn_ack = take(client_);
  EXPECT_EQ(syn_ack.segment.flags, kTcpSyn | kTcpAck);
  EXPECT_EQ(syn_ack.segment.acknowledged, client_.next);
  EXPECT_EQ(syn_ack.segment.mss, 1460);
  EXPECT_EQ(syn_ack.packet.source, kServiceIp);
  EXPECT_EQ(syn_ack.packet.target, kGuestIp);
  input(client_.send(kTcpAck));
  EXPECT_FALSE(stack_.has_output());
  EXPECT_EQ(stack_.connections(), 1U);
  EXPECT_FALSE(stack_.next_timeout());
}

TEST_F(MmdsStackTest, AnswersARequest) {
  connect(client_);
  input(client_.send(kTcpAck | kTcpPush, kGet));
  const Received answer = take(client_);
  EXPECT_EQ(answer.segment.acknowledged, client_.next);
  EXPECT_THAT(answer.data(), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer.data(), EndsWith("\r\n\r\nvalue"));
}

TEST_F(MmdsStackTest, AnswersSeveralRequestsOfAConnectionInOrder) {
  ASSERT_TRUE(service_->put(R"({"a": "first", "b": "second"})"));
  connect(client_);
  input(client_.send(kTcpAck, "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /a HT"));
  const std::string answers = read_all(client_);
  EXPECT_THAT(answers, ::testing::ContainsRegex("first(.|\n)*second$"));
  input(client_.send(kTcpAck, "TP/1.1\r\n\r\n"));
  EXPECT_THAT(read_all(client_), EndsWith("first"));
}

TEST_F(MmdsStackTest, AnswersARequestThatComesByteByByte) {
  connect(client_);
  for (const char c : std::string_view(kGet)) {
    EXPECT_EQ(read_all(client_), "");
    input(client_.send(kTcpAck, std::string_view(&c, 1)));
  }
  EXPECT_THAT(read_all(client_), EndsWith("value"));
}

TEST_F(MmdsStackTest, SendsALargeValueInSegmentsOfThePeersSize) {
  const std::string large(40'000, 'v');
  ASSERT_TRUE(service_->put("{\"key\": \"" + large + "\"}"));
  connect(client_);
  input(client_.send(kTcpAck, kGet));
  EXPECT_THAT(read_all(client_), EndsWith("\r\n\r\n" + large));
}

TEST_F(MmdsStackTest, SendsNoMoreThanTheWindow) {
  const std::string large(40'000, 'v');
  ASSERT_TRUE(service_->put("{\"key\": \"" + large + "\"}"));
  client_.window = 2000;
  connect(client_);
  input(client_.send(kTcpAck, kGet));
  EXPECT_EQ(take(client_).segment.data.size(), 1460U);
  EXPECT_EQ(take(client_).segment.data.size(), 540U);
  EXPECT_FALSE(stack_.has_output());
}

TEST_F(MmdsStackTest, AsksAClosedWindowWithOneByteByTheTimer) {
  client_.window = 0;
  connect(client_);
  input(client_.send(kTcpAck, kGet));
  EXPECT_EQ(take(client_).segment.length(), 0U);  // acknowledges the request
  ASSERT_TRUE(stack_.next_timeout());
  pass(TcpConnection::kFirstTimeout);
  EXPECT_EQ(take(client_).data(), "H");
  client_.window = 1000;
  input(client_.send(kTcpAck));
  EXPECT_THAT(read_all(client_), EndsWith("value"));
}

TEST_F(MmdsStackTest, SendsAgainWhatIsNotAcknowledged) {
  connect(client_);
  input(client_.send(kTcpAck, kGet));
  const Received first = take(client_);
  ASSERT_TRUE(stack_.next_timeout());
  EXPECT_EQ(*stack_.next_timeout(), now_ + TcpConnection::kFirstTimeout);
  pass(TcpConnection::kFirstTimeout);
  const Received again = take(client_);
  EXPECT_EQ(again.segment.sequence, first.segment.sequence);
  EXPECT_EQ(again.data(), first.data());
  EXPECT_EQ(*stack_.next_timeout(), now_ + 2 * TcpConnection::kFirstTimeout);
  input(client_.send(kTcpAck));
  EXPECT_FALSE(stack_.next_timeout());
}

TEST_F(MmdsStackTest, GivesAConnectionUpThatAcknowledgesNothing) {
  input(client_.send(kTcpSyn));
  std::uint8_t last = 0;
  for (int i = 0; i <= TcpConnection::kMaxRetries && stack_.connections() > 0; ++i) {
    while (stack_.has_output()) last = take(client_).segment.flags;
    ASSERT_TRUE(stack_.next_timeout());
    pass(*stack_.next_timeout() - now_);
  }
  while (stack_.has_output()) last = take(client_).segment.flags;
  EXPECT_EQ(last & kTcpReset, kTcpReset);
  EXPECT_EQ(stack_.connections(), 0U);
}

TEST_F(MmdsStackTest, AnswersARepeatedSynAgain) {
  const Frame syn = client_.send(kTcpSyn);
  input(syn);
  const Received first = take(client_);
  input(syn);
  const Received second = take(client_);
  EXPECT_EQ(second.segment.flags, kTcpSyn | kTcpAck);
  EXPECT_EQ(second.segment.sequence, first.segment.sequence);
  EXPECT_EQ(stack_.connections(), 1U);
}

TEST_F(MmdsStackTest, TakesDataOnceThatComesTwice) {
  connect(client_);
  const Frame half = client_.send(kTcpAck, "GET /key HT");
  input(half);
  input(half);
  input(client_.send(kTcpAck, "TP/1.1\r\n\r\n"));
  EXPECT_THAT(read_all(client_), EndsWith("value"));
}

TEST_F(MmdsStackTest, AsksAgainForDataThatIsMissing) {
  connect(client_);
  const Frame first = client_.send(kTcpAck, "GET /key HT");
  const Frame second = client_.send(kTcpAck, "TP/1.1\r\n\r\n");
  input(second);
  EXPECT_EQ(take(client_).segment.acknowledged, client_.next - 21);
  input(first);
  input(second);
  EXPECT_THAT(read_all(client_), EndsWith("value"));
}

TEST_F(MmdsStackTest, ClosesAfterTheClient) {
  connect(client_);
  input(client_.send(kTcpAck, kGet));
  read_all(client_);
  input(client_.send(kTcpAck | kTcpFin));
  const Received fin = take(client_);
  EXPECT_EQ(fin.segment.flags, kTcpFin | kTcpAck);
  EXPECT_EQ(fin.segment.acknowledged, client_.next);
  input(client_.send(kTcpAck));
  EXPECT_EQ(stack_.connections(), 0U);
  EXPECT_FALSE(stack_.has_output());
}

TEST_F(MmdsStackTest, AnswersARequestThatComesWithTheEnd) {
  connect(client_);
  input(client_.send(kTcpAck | kTcpFin, kGet));
  EXPECT_THAT(read_all(client_), EndsWith("value"));
  EXPECT_EQ(stack_.connections(), 0U);
}

TEST_F(MmdsStackTest, ClosesFirstWhenTheClientWantsIt) {
  connect(client_);
  input(client_.send(kTcpAck, "GET /key HTTP/1.0\r\n\r\n"));
  const Received answer = take(client_);
  EXPECT_THAT(answer.data(), EndsWith("value"));
  EXPECT_EQ(answer.segment.flags & kTcpFin, kTcpFin);
  input(client_.send(kTcpAck));
  EXPECT_EQ(stack_.connections(), 1U);
  input(client_.send(kTcpAck | kTcpFin));
  EXPECT_EQ(take(client_).segment.flags, kTcpAck);
  EXPECT_EQ(stack_.connections(), 0U);
}

TEST_F(MmdsStackTest, ForgetsAConnectionThatIsReset) {
  connect(client_);
  input(client_.send(kTcpReset));
  EXPECT_EQ(stack_.connections(), 0U);
}

TEST_F(MmdsStackTest, DoesNotBelieveAResetThatIsNotExact) {
  connect(client_);
  Client forged = client_;
  forged.next += 100;
  input(forged.segment(kTcpReset));
  EXPECT_EQ(stack_.connections(), 1U);
  EXPECT_EQ(take(client_).segment.flags, kTcpAck);
}

TEST_F(MmdsStackTest, RefusesOtherPortsAndSegmentsOfNoConnection) {
  input(client_.segment(kTcpAck, "hello"));
  EXPECT_EQ(take(client_).segment.flags, kTcpReset);
  Frame other_port = client_.segment(kTcpSyn);
  other_port[37] = std::byte{81};
  stack_.input(other_port, MmdsStack::Checksum::kPartial, now_);
  EXPECT_EQ(take(client_).segment.flags, kTcpReset | kTcpAck);
  input(client_.segment(kTcpReset));
  EXPECT_FALSE(stack_.has_output());
}

TEST_F(MmdsStackTest, DropsAWrongChecksumUnlessItIsLeftToTheDevice) {
  Frame syn = client_.send(kTcpSyn);
  syn[50] ^= std::byte{0xff};
  input(syn);
  EXPECT_FALSE(stack_.has_output());
  EXPECT_EQ(stack_.dropped(), 1U);
  stack_.input(syn, MmdsStack::Checksum::kPartial, now_);
  EXPECT_TRUE(stack_.has_output());
}

TEST_F(MmdsStackTest, ResetsAClientWhoseRequestIsTooLong) {
  connect(client_);
  input(client_.send(kTcpAck, "GET /key HTTP/1.1\r\nX: "));
  std::uint8_t last = 0;
  for (int i = 0; i < 10 && stack_.connections() > 0; ++i) {
    input(client_.send(kTcpAck, std::string(1400, 'x')));
    while (stack_.has_output()) last = take(client_).segment.flags;
  }
  EXPECT_EQ(last & kTcpReset, kTcpReset);
  EXPECT_EQ(stack_.connections(), 0U);
}

TEST_F(MmdsStackTest, TakesThirtyConnectionsAndNoMore) {
  for (std::uint16_t i = 0; i < MmdsStack::kMaxConnections; ++i) {
    Client client;
    client.port = static_cast<std::uint16_t>(1000 + i);
    connect(client);
  }
  input(client_.send(kTcpSyn));
  EXPECT_EQ(take(client_).segment.flags, kTcpReset | kTcpAck);
  EXPECT_EQ(stack_.connections(), MmdsStack::kMaxConnections);
}

TEST_F(MmdsStackTest, ReplacesAConnectionThatWasSilentForLong) {
  for (std::uint16_t i = 0; i < MmdsStack::kMaxConnections; ++i) {
    Client client;
    client.port = static_cast<std::uint16_t>(1000 + i);
    connect(client);
  }
  pass(seconds(10));
  connect(client_);
  input(client_.send(kTcpAck, kGet));
  EXPECT_THAT(read_all(client_), EndsWith("value"));
  EXPECT_EQ(stack_.connections(), MmdsStack::kMaxConnections);
}

TEST_F(MmdsStackTest, KeepsABoundedNumberOfFrames) {
  for (int i = 0; i < 1000; ++i) input(arp_request());
  std::size_t frames = 0;
  for (; stack_.has_output(); ++frames) stack_.pop_output(now_);
  EXPECT_EQ(frames, MmdsStack::kMaxOutput);
  EXPECT_EQ(stack_.dropped(), 1000 - MmdsStack::kMaxOutput);
}

TEST_F(MmdsStackTest, SendsTheRestOfAnAnswerAsFramesAreTaken) {
  for (std::size_t i = 0; i + 1 < MmdsStack::kMaxOutput; ++i) input(arp_request());
  input(client_.send(kTcpSyn));
  while (ether_type(stack_.output()) == kEtherArp) stack_.pop_output(now_);
  take(client_);
  for (std::size_t i = 0; i < MmdsStack::kMaxOutput; ++i) input(arp_request());
  input(client_.send(kTcpAck, kGet));
  while (ether_type(stack_.output()) == kEtherArp) stack_.pop_output(now_);
  EXPECT_THAT(read_all(client_), EndsWith("value"));
}

TEST_F(MmdsStackTest, ForgetsEverythingWhenTheGuestStartsAnew) {
  connect(client_);
  input(arp_request());
  stack_.reset();
  EXPECT_FALSE(stack_.has_output());
  EXPECT_EQ(stack_.connections(), 0U);
}

TEST_F(MmdsStackTest, StillWorksAfterManyMutatedFrames) {
  std::mt19937 random(11);
  for (int round = 0; round < 20'000; ++round) {
    Client client;
    client.port = static_cast<std::uint16_t>(random() % 40);
    client.next = random() % 8;
    Frame frame = client.segment(static_cast<std::uint8_t>(random()), kGet);
    for (int flips = 0; flips < 2; ++flips)
      frame[random() % frame.size()] = static_cast<std::byte>(random());
    stack_.input(FrameBytes(frame).first(14 + random() % (frame.size() - 13)),
                 MmdsStack::Checksum::kPartial, now_);
    pass(seconds(random() % 2));
    if (random() % 4 == 0 && stack_.has_output()) stack_.pop_output(now_);
    EXPECT_LE(stack_.connections(), MmdsStack::kMaxConnections);
  }
  while (stack_.has_output()) stack_.pop_output(now_);
  stack_.reset();
  connect(client_);
  input(client_.send(kTcpAck, kGet));
  EXPECT_THAT(read_all(client_), EndsWith("value"));
}

}  // namespace
}  // namespace mvm::vmm
