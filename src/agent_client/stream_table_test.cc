// SPDX-License-Identifier: Apache-2.0
#include "agent_client/stream_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace mvm::agent_client {
namespace {

using testing::HasSubstr;
using wire::FrameType;

struct Sent {
  std::uint32_t stream;
  FrameType type;
  std::uint8_t channel;
  std::size_t size;
  std::uint32_t number;  // of a four-byte payload
};

class Streams : public testing::Test {
 protected:
  StreamTable table_{[this](std::uint32_t stream, FrameType type, std::uint8_t channel,
                            std::span<const std::byte> payload) {
    sent_.push_back({stream, type, channel, payload.size(), wire::decode_u32(payload).value_or(0)});
  }};
  std::vector<Sent> sent_;
  std::size_t data_ = 0;
  int credits_ = 0;
  std::vector<std::uint8_t> eofs_;
  std::optional<std::uint32_t> pid_;
  std::optional<wire::Closed> closed_;

  StreamHandlers handlers() {
    StreamHandlers out;
    out.on_data = [this](std::uint8_t, std::span<const std::byte> bytes) { data_ += bytes.size(); };
    out.on_eof = [this](std::uint8_t channel) { eofs_.push_back(channel); };
    out.on_credit = [this] { ++credits_; };
    out.on_started = [this](std::uint32_t pid) { pid_ = pid; };
    out.on_closed = [this](const wire::Closed& closed) { closed_ = closed; };
    return out;
  }
  std::shared_ptr<Stream> open() {
    wire::Open request;
    request.exec.argv = {"true"};
    auto stream = table_.open(request, handlers()).value();
    sent_.clear();
    return stream;
  }
  Result<> receive(std::uint32_t stream, FrameType type, std::uint8_t channel = 0,
                   std::span<const std::byte> payload = {}) {
    return table_.handle({stream, type, channel, payload});
  }
  Result<> receive_data(std::size_t size) {
    return receive(1, FrameType::kData, wire::kStdout, std::vector<std::byte>(size));
  }
};

TEST_F(Streams, GetNumbersOfTheirOwn) {
  wire::Open request;
  request.exec.argv = {"true"};
  const auto first = table_.open(request, handlers()).value();
  const auto second = table_.open(request, handlers()).value();
  ASSERT_EQ(sent_.size(), 2U);
  EXPECT_EQ(sent_[0].type, FrameType::kOpen);
  EXPECT_NE(sent_[0].stream, sent_[1].stream);
  EXPECT_NE(sent_[0].stream, 0U);
}

TEST_F(Streams, RefuseARequestThatDoesNotFitIntoAFrame) {
  wire::Open request;
  request.exec.argv = {"echo", std::string(wire::kMaxPayload, 'x')};
  const Error error = table_.open(request, handlers()).error();
  EXPECT_EQ(error.code(), Errc::kInvalidArgument);
  EXPECT_THAT(error.hint(), HasSubstr("stdin"));
  EXPECT_TRUE(table_.empty());
  EXPECT_TRUE(sent_.empty());
}

TEST_F(Streams, CutInputIntoChunksAndCountItsCredit) {
  const auto stream = open();
  constexpr std::size_t kBytes = wire::kMaxInputChunk + 36'000;
  stream->send(std::vector<std::byte>(kBytes));
  ASSERT_EQ(sent_.size(), 2U);
  EXPECT_EQ(sent_[0].size, wire::kMaxInputChunk);
  EXPECT_EQ(sent_[1].size, kBytes - wire::kMaxInputChunk);
  EXPECT_EQ(stream->credit(), wire::kInputWindow - kBytes);
}

TEST_F(Streams, GainCreditWhenTheGuestGrantsIt) {
  const auto stream = open();
  stream->send(std::vector<std::byte>(wire::kInputWindow));
  EXPECT_EQ(stream->credit(), 0U);
  ASSERT_TRUE(receive(1, FrameType::kCredit, 0, wire::encode_u32(5000)));
  EXPECT_EQ(stream->credit(), 5000U);
  EXPECT_EQ(credits_, 1);
}

TEST_F(Streams, ReturnCreditInAFewLargeGrants) {
  const auto stream = open();
  ASSERT_TRUE(receive_data(wire::grant_step(wire::kStdout)));
  stream->consumed(wire::kStdout, wire::grant_step(wire::kStdout) - 1);
  EXPECT_TRUE(sent_.empty());
  stream->consumed(wire::kStdout, 1);
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_EQ(sent_[0].type, FrameType::kCredit);
  EXPECT_EQ(sent_[0].channel, wire::kStdout);
  EXPECT_EQ(sent_[0].number, wire::grant_step(wire::kStdout));
}

TEST_F(Streams, TakeAFullWindowAndNotAByteMore) {
  const auto stream = open();
  for (std::size_t i = 0; i < wire::kOutputWindow / wire::kMaxDataChunk; ++i)
    ASSERT_TRUE(receive_data(wire::kMaxDataChunk));
  const auto over = receive_data(1);
  ASSERT_FALSE(over.has_value());
  EXPECT_EQ(over.error().code(), Errc::kGuestFault);
  EXPECT_THAT(over.error().text(), HasSubstr("more data than was granted"));
  EXPECT_EQ(data_, wire::kOutputWindow);
}

TEST_F(Streams, CountEachChannelByItself) {
  const auto stream = open();
  for (std::size_t i = 0; i < wire::kOutputWindow / wire::kMaxDataChunk; ++i)
    ASSERT_TRUE(receive_data(wire::kMaxDataChunk));
  EXPECT_TRUE(receive(1, FrameType::kData, wire::kStderr, std::vector<std::byte>(10)));
}

TEST_F(Streams, TellTheirOwnerStartEndOfFileAndEnd) {
  const auto stream = open();
  ASSERT_TRUE(receive(1, FrameType::kStarted, 0, wire::encode_u32(77)));
  ASSERT_TRUE(receive(1, FrameType::kEof, wire::kStdout));
  ASSERT_TRUE(
      receive(1, FrameType::kClosed, 0, wire::encode(wire::Closed{wire::Outcome::kExited, 3, ""})));
  EXPECT_EQ(pid_, 77U);
  EXPECT_THAT(eofs_, testing::ElementsAre(wire::kStdout));
  EXPECT_EQ(closed_->code, 3);
  EXPECT_TRUE(stream->closed());
  EXPECT_TRUE(table_.empty());
}

TEST_F(Streams, SendSignalsSizesEofAndCancel) {
  const auto stream = open();
  stream->send_signal(15);
  stream->send_resize(50, 132);
  stream->send_eof();
  stream->cancel();
  std::vector<FrameType> types;
  for (const Sent& frame : sent_) types.push_back(frame.type);
  EXPECT_THAT(types, testing::ElementsAre(FrameType::kSignal, FrameType::kResize, FrameType::kEof,
                                          FrameType::kCancel));
  EXPECT_EQ(sent_[0].number, 15U);
}

TEST_F(Streams, SendNothingAfterTheirEnd) {
  const auto stream = open();
  ASSERT_TRUE(receive(1, FrameType::kClosed, 0, wire::encode(wire::Closed{})));
  stream->send(std::vector<std::byte>(10));
  stream->send_eof();
  stream->send_signal(9);
  stream->send_resize(1, 1);
  stream->cancel();
  stream->consumed(wire::kStdout, wire::kOutputWindow);
  EXPECT_TRUE(sent_.empty());
}

TEST_F(Streams, IgnoreWhatComesForAStreamThatHasEnded) {
  const auto stream = open();
  ASSERT_TRUE(receive(1, FrameType::kClosed, 0, wire::encode(wire::Closed{})));
  EXPECT_TRUE(receive_data(10));
  EXPECT_TRUE(receive(99, FrameType::kEof));
  EXPECT_EQ(data_, 0U);
}

TEST_F(Streams, TellNobodyAnythingOnceAbandonedButGoOnTakingData) {
  const auto stream = open();
  stream->abandon();
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_EQ(sent_[0].type, FrameType::kCancel);
  for (std::size_t i = 0; i < 4 * wire::kOutputWindow / wire::kMaxDataChunk; ++i)
    ASSERT_TRUE(receive_data(wire::kMaxDataChunk));
  ASSERT_TRUE(receive(1, FrameType::kStarted, 0, wire::encode_u32(77)));
  ASSERT_TRUE(receive(1, FrameType::kEof, wire::kStdout));
  ASSERT_TRUE(receive(1, FrameType::kCredit, 0, wire::encode_u32(1)));
  ASSERT_TRUE(receive(1, FrameType::kClosed, 0, wire::encode(wire::Closed{})));
  EXPECT_EQ(data_, 0U);
  EXPECT_FALSE(closed_.has_value());
  EXPECT_TRUE(table_.empty());
}

TEST_F(Streams, AllEndWithTheConnection) {
  const auto first = open();
  const auto second = open();
  table_.close_all({wire::Outcome::kCancelled, 0, "gone"});
  EXPECT_TRUE(first->closed());
  EXPECT_TRUE(second->closed());
  EXPECT_EQ(closed_->message, "gone");
  EXPECT_TRUE(table_.empty());
}

TEST_F(Streams, MayOpenAnotherWhileTheyEnd) {
  wire::Open request;
  request.exec.argv = {"true"};
  StreamHandlers reopen;
  reopen.on_data = [](std::uint8_t, std::span<const std::byte>) {};
  reopen.on_closed = [&](const wire::Closed&) { ASSERT_TRUE(table_.open(request, handlers())); };
  ASSERT_TRUE(table_.open(request, std::move(reopen)));
  ASSERT_TRUE(receive(1, FrameType::kClosed, 0, wire::encode(wire::Closed{})));
  EXPECT_FALSE(table_.empty());
}

TEST_F(Streams, RefuseFramesThatAreTheHostsToSend) {
  const auto stream = open();
  for (const FrameType type :
       {FrameType::kOpen, FrameType::kSignal, FrameType::kResize, FrameType::kCancel})
    EXPECT_EQ(receive(1, type).error().code(), Errc::kGuestFault);
}

TEST_F(Streams, RefuseMalformedPayloads) {
  const auto stream = open();
  for (const FrameType type : {FrameType::kStarted, FrameType::kCredit, FrameType::kClosed})
    EXPECT_EQ(receive(1, type, 0, std::vector<std::byte>(3)).error().code(), Errc::kGuestFault);
}

}  // namespace
}  // namespace mvm::agent_client
