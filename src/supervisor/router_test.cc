// SPDX-License-Identifier: Apache-2.0
#include "supervisor/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mvm::supervisor {
namespace {

using testing::HasSubstr;
using wire::Frame;
using wire::FrameType;

struct Got {
  std::uint32_t stream;
  FrameType type;
  std::vector<std::byte> payload;
};

class RouterTest : public testing::Test {
 protected:
  Router router_{[this](const Frame& f) {
    guest_.push_back({f.stream, f.type, {f.payload.begin(), f.payload.end()}});
  }};
  std::vector<Got> guest_;
  std::vector<Got> a_;
  std::vector<Got> b_;
  Router::PeerId peer_a_ = add(a_);
  Router::PeerId peer_b_ = add(b_);

  Router::PeerId add(std::vector<Got>& into) {
    return router_.add_peer([&into](const Frame& f) {
      into.push_back({f.stream, f.type, {f.payload.begin(), f.payload.end()}});
    });
  }
  // Opens the peer's stream and returns its number towards the guest.
  std::uint32_t open(Router::PeerId peer, std::uint32_t stream) {
    EXPECT_TRUE(router_.from_peer(peer, {stream, FrameType::kOpen, 0, {}}));
    return guest_.back().stream;
  }
  Result<> peer_sends(FrameType type, std::uint8_t channel, std::size_t size) {
    return router_.from_peer(peer_a_, {1, type, channel, std::vector<std::byte>(size)});
  }
  Result<> guest_sends(std::uint32_t stream, FrameType type, std::uint8_t channel,
                       std::size_t size) {
    return router_.from_guest({stream, type, channel, std::vector<std::byte>(size)});
  }
  Result<> guest_closes(std::uint32_t stream) {
    return router_.from_guest({stream, FrameType::kClosed, 0, wire::encode(wire::Closed{})});
  }
  Result<> credit_from_guest(std::uint32_t stream, std::uint32_t bytes) {
    return router_.from_guest({stream, FrameType::kCredit, 0, wire::encode_u32(bytes)});
  }
  Result<> credit_from_peer(std::uint8_t channel, std::uint32_t bytes) {
    return router_.from_peer(peer_a_, {1, FrameType::kCredit, channel, wire::encode_u32(bytes)});
  }
};

TEST_F(RouterTest, KeepsEqualNumbersOfTwoClientsApart) {
  const std::uint32_t first = open(peer_a_, 1);
  const std::uint32_t second = open(peer_b_, 1);
  EXPECT_NE(first, second);
  ASSERT_TRUE(guest_sends(second, FrameType::kData, wire::kStdout, 3));
  ASSERT_TRUE(guest_sends(first, FrameType::kEof, wire::kStdout, 0));
  ASSERT_EQ(a_.size(), 1U);
  ASSERT_EQ(b_.size(), 1U);
  EXPECT_EQ(a_[0].type, FrameType::kEof);
  EXPECT_EQ(b_[0].type, FrameType::kData);
  EXPECT_EQ(b_[0].stream, 1U);
}

TEST_F(RouterTest, RefusesAClientThatOpensAStreamTwice) {
  open(peer_a_, 1);
  EXPECT_EQ(router_.from_peer(peer_a_, {1, FrameType::kOpen, 0, {}}).error().code(),
            Errc::kInvalidArgument);
}

TEST_F(RouterTest, LetsAClientUseANumberAgainAfterItsEnd) {
  ASSERT_TRUE(guest_closes(open(peer_a_, 1)));
  EXPECT_EQ(router_.open_streams(), 0U);
  open(peer_a_, 1);
  EXPECT_EQ(router_.open_streams(), 1U);
}

TEST_F(RouterTest, HoldsAClientToItsWindow) {
  open(peer_a_, 1);
  ASSERT_TRUE(peer_sends(FrameType::kData, 0, wire::kInputWindow / 2));
  ASSERT_TRUE(peer_sends(FrameType::kData, 0, wire::kInputWindow / 2));
  EXPECT_EQ(peer_sends(FrameType::kData, 0, 1).error().code(), Errc::kInvalidArgument);
}

TEST_F(RouterTest, OpensAClientsWindowAgainByTheGuestsCredit) {
  const std::uint32_t stream = open(peer_a_, 1);
  ASSERT_TRUE(peer_sends(FrameType::kData, 0, wire::kInputWindow));
  ASSERT_TRUE(credit_from_guest(stream, 10));
  EXPECT_TRUE(peer_sends(FrameType::kData, 0, 10));
  EXPECT_FALSE(peer_sends(FrameType::kData, 0, 1));
}

TEST_F(RouterTest, HoldsTheGuestToItsWindow) {
  const std::uint32_t stream = open(peer_a_, 1);
  ASSERT_TRUE(guest_sends(stream, FrameType::kData, wire::kStdout, wire::kOutputWindow));
  ASSERT_TRUE(guest_sends(stream, FrameType::kData, wire::kStderr, 1));
  EXPECT_THAT(guest_sends(stream, FrameType::kData, wire::kStdout, 1).error().text(),
              HasSubstr("more data than was granted"));
}

TEST_F(RouterTest, RefusesDataOfTheGuestOnStandardInput) {
  EXPECT_EQ(guest_sends(open(peer_a_, 1), FrameType::kData, wire::kStdin, 1).error().code(),
            Errc::kGuestFault);
}

TEST_F(RouterTest, RefusesDataOfAClientOnStandardOutput) {
  open(peer_a_, 1);
  EXPECT_EQ(peer_sends(FrameType::kData, wire::kStdout, 1).error().code(), Errc::kInvalidArgument);
}

TEST_F(RouterTest, RefusesCreditThatWasNeverUsed) {
  const std::uint32_t stream = open(peer_a_, 1);
  EXPECT_EQ(credit_from_guest(stream, 1).error().code(), Errc::kGuestFault);
  EXPECT_EQ(credit_from_peer(wire::kStdout, 1).error().code(), Errc::kInvalidArgument);
}

TEST_F(RouterTest, DoesNotLetManyGrantsAddUp) {
  const std::uint32_t stream = open(peer_a_, 1);
  ASSERT_TRUE(peer_sends(FrameType::kData, 0, 100));
  ASSERT_TRUE(credit_from_guest(stream, 100));
  EXPECT_EQ(credit_from_guest(stream, 0xffffffff).error().code(), Errc::kGuestFault);
}

TEST_F(RouterTest, CancelsTheStreamsOfAClientThatIsGone) {
  const std::uint32_t first = open(peer_a_, 1);
  const std::uint32_t other = open(peer_b_, 1);
  guest_.clear();
  router_.remove_peer(peer_a_);
  ASSERT_EQ(guest_.size(), 1U);
  EXPECT_EQ(guest_[0].type, FrameType::kCancel);
  EXPECT_EQ(guest_[0].stream, first);
  EXPECT_TRUE(guest_sends(first, FrameType::kData, wire::kStdout, 10));
  EXPECT_TRUE(guest_closes(first));
  EXPECT_TRUE(a_.empty());
  EXPECT_TRUE(guest_sends(other, FrameType::kData, wire::kStdout, 10));
  EXPECT_EQ(b_.size(), 1U);
}

TEST_F(RouterTest, RefusesMoreStreamsThanItsLimitWithoutEndingTheClient) {
  for (std::uint32_t i = 1; i <= wire::kMaxStreams; ++i) open(peer_a_, i);
  guest_.clear();
  ASSERT_TRUE(router_.from_peer(peer_b_, {1, FrameType::kOpen, 0, {}}));
  EXPECT_TRUE(guest_.empty());
  ASSERT_EQ(b_.size(), 1U);
  const wire::Closed closed = wire::decode_closed(b_[0].payload).value();
  EXPECT_EQ(closed.outcome, wire::Outcome::kRefused);
  EXPECT_THAT(closed.message, HasSubstr("1024"));
}

TEST_F(RouterTest, TakesAFrameForAnUnknownStreamAsAFaultOfTheGuest) {
  EXPECT_EQ(guest_sends(77, FrameType::kData, wire::kStdout, 1).error().code(), Errc::kGuestFault);
  const std::uint32_t stream = open(peer_a_, 1);
  ASSERT_TRUE(guest_closes(stream));
  EXPECT_EQ(guest_closes(stream).error().code(), Errc::kGuestFault);
}

TEST_F(RouterTest, IgnoresWhatAClientSendsForAStreamThatHasEnded) {
  EXPECT_TRUE(peer_sends(FrameType::kData, 0, 10));
  EXPECT_TRUE(guest_.empty());
}

TEST_F(RouterTest, RefusesFramesThatTheOtherSideSends) {
  const std::uint32_t stream = open(peer_a_, 1);
  for (const FrameType type : {FrameType::kOpen, FrameType::kCancel, FrameType::kSignal})
    EXPECT_EQ(guest_sends(stream, type, 0, 0).error().code(), Errc::kGuestFault);
  for (const FrameType type : {FrameType::kStarted, FrameType::kClosed, FrameType::kHello})
    EXPECT_EQ(peer_sends(type, 0, 0).error().code(), Errc::kInvalidArgument);
}

TEST_F(RouterTest, RefusesAnEndThatIsMalformed) {
  EXPECT_EQ(guest_sends(open(peer_a_, 1), FrameType::kClosed, 0, 2).error().code(),
            Errc::kGuestFault);
}

TEST_F(RouterTest, AnswersEveryOpenStreamWhenTheGuestIsGone) {
  open(peer_a_, 1);
  open(peer_a_, 2);
  open(peer_b_, 9);
  router_.close_all({wire::Outcome::kCancelled, 0, "the machine has ended"});
  EXPECT_EQ(a_.size(), 2U);
  ASSERT_EQ(b_.size(), 1U);
  EXPECT_EQ(b_[0].stream, 9U);
  EXPECT_EQ(wire::decode_closed(b_[0].payload).value().message, "the machine has ended");
  EXPECT_EQ(router_.open_streams(), 0U);
}

}  // namespace
}  // namespace mvm::supervisor
