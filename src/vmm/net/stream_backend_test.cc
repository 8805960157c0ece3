// SPDX-License-Identifier: Apache-2.0
#include "vmm/net/stream_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/net/testing_net.h"

namespace mvm::vmm {
namespace {

using namespace testing_net;
using Sent = NetBackend::Sent;

std::string text(const NetFrame& frame) {
  return {reinterpret_cast<const char*>(frame.bytes.data()), frame.bytes.size()};
}

class StreamBackendTest : public ::testing::Test {
 protected:
  std::optional<std::string> next() {
    const auto got = backend_.peek();
    if (!got || !*got) return std::nullopt;
    std::string out = text(**got);
    backend_.consume();
    return out;
  }
  Sent send(const std::string& bytes) {
    std::string copy = bytes;
    const std::size_t half = copy.size() / 2;
    const std::array<iovec, 2> parts = {
        {{copy.data(), half}, {copy.data() + half, copy.size() - half}}};
    return backend_.send({}, parts, copy.size()).value();
  }
  StreamPair pair_ = make_stream_pair();
  StreamBackend& backend_ = *pair_.backend;
  Peer& peer_ = pair_.peer;
};

TEST_F(StreamBackendTest, GivesFramesInOrderAndTheSameUntilItIsConsumed) {
  peer_.send(frame(60, 'a'));
  peer_.send(frame(1514, 'b'));
  EXPECT_EQ(text(**backend_.peek()), frame(60, 'a'));
  EXPECT_EQ(next(), frame(60, 'a'));
  EXPECT_EQ(next(), frame(1514, 'b'));
  EXPECT_EQ(next(), std::nullopt);
}

TEST_F(StreamBackendTest, PutsAFrameTogetherThatComesInPieces) {
  const std::string whole = framed(frame(100, 'x'));
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(next(), std::nullopt);
    peer_.write_raw(whole.substr(i, 1));
  }
  EXPECT_EQ(next(), frame(100, 'x'));
}

TEST_F(StreamBackendTest, TakesTheLongestFramesOneAfterTheOther) {
  for (const char fill : {'1', '2', '3'}) {
    peer_.send(frame(StreamBackend::kMaxStreamFrame, fill));
    EXPECT_EQ(next(), frame(StreamBackend::kMaxStreamFrame, fill));
  }
}

TEST_F(StreamBackendTest, SkipsWhatIsShorterThanAnEthernetHeader) {
  peer_.send("");
  peer_.send(frame(13, 's'));
  peer_.send(frame(14, 'l'));
  EXPECT_EQ(next(), frame(14, 'l'));
}

TEST_F(StreamBackendTest, RefusesAFrameThatIsTooLong) {
  peer_.write_raw(std::string("\x7f\xff\xff\xff", 4));
  const auto got = backend_.peek();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code(), Errc::kCorrupt);
  EXPECT_EQ(got.error().text(), "the network process sent a frame of 2147483647 bytes");
}

TEST_F(StreamBackendTest, GivesWhatCameBeforeThePeerCloses) {
  peer_.send(frame(60, 'a'));
  peer_.close();
  EXPECT_EQ(next(), frame(60, 'a'));
  EXPECT_EQ(backend_.peek().error().code(), Errc::kUnavailable);
}

TEST_F(StreamBackendTest, GathersSmallFramesUntilTheyAreFlushed) {
  EXPECT_EQ(send(frame(60, 'a')), Sent::kYes);
  EXPECT_EQ(send(frame(70, 'b')), Sent::kYes);
  EXPECT_EQ(peer_.take(), std::nullopt);
  ASSERT_TRUE(backend_.flush());
  EXPECT_EQ(peer_.take(), frame(60, 'a'));
  EXPECT_EQ(peer_.take(), frame(70, 'b'));
  EXPECT_EQ(backend_.unsent(), 0U);
}

TEST_F(StreamBackendTest, SendsLargeFramesAtOnceButNeverOvertakesSmallOnes) {
  EXPECT_EQ(send(frame(60, 'a')), Sent::kYes);
  EXPECT_EQ(send(frame(60'000, 'b')), Sent::kYes);
  EXPECT_EQ(peer_.take(), frame(60, 'a'));
  EXPECT_EQ(peer_.take(), frame(60'000, 'b'));
}

TEST_F(StreamBackendTest, IsFullWhenThePeerDoesNotReadAndLosesNothing) {
  std::vector<std::string> sent;
  for (std::size_t i = 0;; ++i) {
    std::string next_frame = frame(i % 2 == 0 ? 50'001 : 900, static_cast<char>('a' + i % 26));
    if (send(next_frame) != Sent::kYes) break;
    sent.push_back(std::move(next_frame));
  }
  EXPECT_LE(backend_.unsent(), StreamBackend::kMaxUnsent);
  for (const std::string& expected : sent) {
    auto got = peer_.take();
    ASSERT_TRUE(backend_.flush());
    if (!got) got = peer_.take();
    ASSERT_EQ(got, expected);
  }
  EXPECT_EQ(backend_.unsent(), 0U);
}

TEST_F(StreamBackendTest, RefusesAFrameThatTheFramingHasNoRoomFor) {
  EXPECT_EQ(send(frame(StreamBackend::kMaxStreamFrame + 1, 'x')), Sent::kRefused);
  EXPECT_EQ(send(frame(StreamBackend::kMaxStreamFrame, 'x')), Sent::kYes);
}

TEST_F(StreamBackendTest, SaysThatThePeerHasGoneWhenItSends) {
  peer_.close();
  EXPECT_EQ(send(frame(60, 'a')), Sent::kYes);
  EXPECT_EQ(backend_.flush().error().code(), Errc::kUnavailable);
}

TEST_F(StreamBackendTest, HasNoOffloads) {
  EXPECT_TRUE(backend_.set_offloads(0));
  EXPECT_EQ(backend_.set_offloads(net_feature::kChecksum).error().code(), Errc::kUnsupported);
}

TEST(StreamBackend, RefusesWhatIsNoStreamSocket) {
  sys::Pipe pipe = sys::make_pipe().value();
  const auto adopted = StreamBackend::adopt(std::move(pipe.read_end));
  ASSERT_FALSE(adopted);
  EXPECT_EQ(adopted.error().code(), Errc::kInvalidArgument);
}

TEST(StreamBackend, SaysWhereNobodyListens) {
  EXPECT_EQ(StreamBackend::connect("/nonexistent/net.sock").error().code(), Errc::kNotFound);
}

}  // namespace
}  // namespace mvm::vmm
