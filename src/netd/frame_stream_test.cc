// SPDX-License-Identifier: Apache-2.0
#include "netd/frame_stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "netd/testing_guest.h"
#include "sys/io.h"

namespace mvm::netd {
namespace {

using testing::append;
using testing::append32;

testing::Bytes framed(std::size_t size, int fill) {
  testing::Bytes out;
  append32(out, static_cast<std::uint32_t>(size));
  append(out, testing::Bytes(size, static_cast<std::byte>(fill)));
  return out;
}

class FrameStreamTest : public ::testing::Test {
 protected:
  Result<bool> receive() {
    return stream_.receive([this](std::span<const std::byte> frame) {
      frames_.emplace_back(frame.begin(), frame.end());
    });
  }
  void peer_writes(const testing::Bytes& bytes) {
    ASSERT_TRUE(sys::write_full(pair_.second.get(), bytes));
  }
  sys::SocketPair pair_ = sys::make_socket_pair().value();
  FrameStream stream_{pair_.first.get()};
  std::vector<testing::Bytes> frames_;
};

TEST_F(FrameStreamTest, TakesManyFramesOutOfOneRead) {
  testing::Bytes all;
  for (int i = 0; i < 40; ++i) append(all, framed(100 + static_cast<std::size_t>(i), i));
  peer_writes(all);
  ASSERT_TRUE(receive().value());
  ASSERT_EQ(frames_.size(), 40U);
  EXPECT_EQ(frames_[39], testing::Bytes(139, std::byte{39}));
}

TEST_F(FrameStreamTest, PutsAFrameTogetherThatComesByteByByte) {
  for (const std::byte byte : framed(20, 9)) {
    EXPECT_TRUE(frames_.empty());
    peer_writes({byte});
    ASSERT_TRUE(receive().value());
  }
  EXPECT_EQ(frames_, std::vector<testing::Bytes>{testing::Bytes(20, std::byte{9})});
}

TEST_F(FrameStreamTest, SaysWhenThePeerHasClosed) {
  pair_.second.reset();
  EXPECT_FALSE(receive().value());
}

TEST_F(FrameStreamTest, KeepsGoingWhenThereIsNothingToRead) { EXPECT_TRUE(receive().value()); }

TEST_F(FrameStreamTest, RefusesAFrameThatIsTooLong) {
  testing::Bytes header;
  append32(header, kMaxFrame + 1);
  peer_writes(header);
  const auto received = receive();
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code(), Errc::kGuestFault);
  EXPECT_EQ(received.error().text(), "a frame of 65551 bytes came, more than 65550");
}

TEST_F(FrameStreamTest, TakesTheLongestFrame) {
  std::size_t written = 0;
  const testing::Bytes frame = framed(kMaxFrame, 1);
  while (written < frame.size()) {
    const auto part =
        std::span(frame).subspan(written, std::min<std::size_t>(30'000, frame.size() - written));
    ASSERT_TRUE(sys::write_full(pair_.second.get(), part));
    written += part.size();
    ASSERT_TRUE(receive().value());
  }
  ASSERT_EQ(frames_.size(), 1U);
  EXPECT_EQ(frames_[0].size(), kMaxFrame);
}

TEST_F(FrameStreamTest, DropsFramesWithoutAnEthernetHeaderAndCountsThem) {
  testing::Bytes all;
  for (const std::size_t size : {0UL, 1UL, 13UL, 14UL}) append(all, framed(size, 5));
  peer_writes(all);
  ASSERT_TRUE(receive().value());
  ASSERT_EQ(frames_.size(), 1U);
  EXPECT_EQ(frames_[0].size(), 14U);
  EXPECT_EQ(stream_.dropped(), 3U);
}

TEST_F(FrameStreamTest, WritesWhatWasQueuedInOrderAsThePeerReads) {
  FrameStream peer(pair_.second.get());
  std::vector<testing::Bytes> sent;
  for (std::size_t i = 0; i < 1000; ++i) {
    sent.emplace_back(14 + i, static_cast<std::byte>(i));
    ASSERT_TRUE(stream_.send(sent.back()));
  }
  std::vector<testing::Bytes> got;
  while (got.size() < sent.size()) {
    ASSERT_TRUE(stream_.flush());
    ASSERT_TRUE(peer.receive(
        [&](std::span<const std::byte> frame) { got.emplace_back(frame.begin(), frame.end()); }));
  }
  EXPECT_EQ(got, sent);
  EXPECT_EQ(stream_.queued(), 0U);
}

TEST_F(FrameStreamTest, SendsALargeFrameAtOnceWhenNothingIsBeforeIt) {
  ASSERT_TRUE(stream_.send(testing::Bytes(20'000, std::byte{7})));
  EXPECT_EQ(stream_.queued(), 0U);
  FrameStream peer(pair_.second.get());
  ASSERT_TRUE(peer.receive(
      [&](std::span<const std::byte> frame) { frames_.emplace_back(frame.begin(), frame.end()); }));
  EXPECT_EQ(frames_, std::vector<testing::Bytes>{testing::Bytes(20'000, std::byte{7})});
}

TEST_F(FrameStreamTest, KeepsTheOrderOfLargeAndSmallFramesThroughAFullSocket) {
  FrameStream peer(pair_.second.get());
  std::vector<testing::Bytes> sent;
  for (std::size_t i = 0; i < 60; ++i) {
    sent.emplace_back(i % 3 == 0 ? 60 : 40'000 + i, static_cast<std::byte>(i));
    ASSERT_TRUE(stream_.send(sent.back()));
  }
  std::vector<testing::Bytes> got;
  while (got.size() < sent.size()) {
    ASSERT_TRUE(stream_.flush());
    ASSERT_TRUE(peer.receive(
        [&](std::span<const std::byte> frame) { got.emplace_back(frame.begin(), frame.end()); }));
  }
  EXPECT_EQ(got, sent);
}

TEST_F(FrameStreamTest, IsCongestedAndAtLastDropsWhenThePeerDoesNotRead) {
  const testing::Bytes frame(60'000);
  while (!stream_.congested()) {
    ASSERT_TRUE(stream_.send(frame));
    ASSERT_TRUE(stream_.flush());
  }
  while (stream_.send(frame)) EXPECT_LE(stream_.queued(), FrameStream::kMaxQueued);
  EXPECT_EQ(stream_.dropped(), 1U);
}

TEST_F(FrameStreamTest, TellsThatThePeerHasGoneWhenItWrites) {
  pair_.second.reset();
  ASSERT_TRUE(stream_.send(testing::Bytes(60)));
  const auto flushed = stream_.flush();
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error().errnum(), EPIPE);
}

}  // namespace
}  // namespace mvm::netd
