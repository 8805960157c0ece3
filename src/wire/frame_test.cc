// SPDX-License-Identifier: Apache-2.0
#include "wire/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>

namespace mvm::wire {
namespace {

using testing::HasSubstr;

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto raw = std::as_bytes(std::span(text));
  return {raw.begin(), raw.end()};
}

// A frame with a payload of its own.
struct Owned {
  std::uint32_t stream;
  FrameType type;
  std::uint8_t channel;
  std::vector<std::byte> payload;
  bool operator==(const Owned&) const = default;
};

std::vector<std::byte> encoded(const std::vector<Owned>& frames) {
  std::vector<std::byte> out;
  for (const Owned& f : frames) append_frame(out, {f.stream, f.type, f.channel, f.payload});
  return out;
}

void feed(FrameParser& parser, std::span<const std::byte> bytes) {
  const auto space = parser.prepare(bytes.size());
  std::copy(bytes.begin(), bytes.end(), space.begin());
  parser.commit(bytes.size());
}

// Pieces of data are put together again.
void take_all(FrameParser& parser, std::vector<Owned>& into) {
  Frame frame;
  while (parser.next(frame).value()) {
    const bool data = frame.type == FrameType::kData && !into.empty() &&
                      into.back().type == FrameType::kData && into.back().stream == frame.stream &&
                      into.back().channel == frame.channel;
    if (!data) into.push_back({frame.stream, frame.type, frame.channel, {}});
    auto& payload = into.back().payload;
    payload.insert(payload.end(), frame.payload.begin(), frame.payload.end());
  }
}

const std::vector<Owned>& samples() {
  static const std::vector<Owned> frames = {
      {0, FrameType::kHello, 0, bytes_of("hi")},
      {0xfffffffe, FrameType::kData, 2, bytes_of("some data")},
      {7, FrameType::kEof, 1, {}},
      {1, FrameType::kClosed, 0, bytes_of(std::string(300, 'c'))},
      {2, FrameType::kCredit, 0, bytes_of("\1\2\3\4")}};
  return frames;
}

// The header of an empty data frame, to be spoilt.
std::vector<std::byte> header() { return encoded({{1, FrameType::kData, 0, {}}}); }

Error refusal(const std::vector<std::byte>& bytes) {
  FrameParser parser;
  feed(parser, bytes);
  Frame frame;
  auto got = parser.next(frame);
  return got ? Error(Errc::kIo, "accepted") : got.error();
}

TEST(Frame, HasTheDocumentedBytes) {
  EXPECT_EQ(encoded({{0x01020304, FrameType::kData, 2, bytes_of("ab")}}),
            bytes_of(std::string("\x04\x03\x02\x01\x12\x02\0\0\x02\0\0\0ab", 14)));
}

TEST(Frame, ComesBackAsItWasSent) {
  FrameParser parser;
  std::vector<Owned> got;
  feed(parser, encoded(samples()));
  take_all(parser, got);
  EXPECT_EQ(got, samples());
  EXPECT_EQ(parser.buffered(), 0U);
}

TEST(Frame, SurvivesEverySplitInTwo) {
  const auto bytes = encoded(samples());
  for (std::size_t at = 0; at <= bytes.size(); ++at) {
    FrameParser parser;
    std::vector<Owned> got;
    feed(parser, std::span(bytes).first(at));
    take_all(parser, got);
    feed(parser, std::span(bytes).subspan(at));
    take_all(parser, got);
    ASSERT_EQ(got, samples()) << "split at " << at;
  }
}

TEST(Frame, SurvivesBeingFedByteByByte) {
  FrameParser parser;
  std::vector<Owned> got;
  for (const std::byte& one : encoded(samples())) {
    feed(parser, std::span(&one, 1));
    take_all(parser, got);
  }
  EXPECT_EQ(got, samples());
}

TEST(Frame, CarriesTheLargestPayload) {
  FrameParser parser;
  std::vector<Owned> got;
  feed(parser, encoded({{1, FrameType::kOpen, 0, std::vector<std::byte>(kMaxPayload)}}));
  take_all(parser, got);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].payload.size(), kMaxPayload);
}

Error refusal_of_length(FrameType type, std::size_t length) {
  auto bytes = header();
  bytes[4] = static_cast<std::byte>(type);
  for (std::size_t i = 0; i < 4; ++i)
    bytes[8 + i] = static_cast<std::byte>(length >> (8 * i) & 0xff);
  return refusal(bytes);
}

TEST(Frame, OverTheLargestPayloadIsRefusedBeforeItIsThere) {
  const Error error = refusal_of_length(FrameType::kOpen, kMaxPayload + 1);
  EXPECT_EQ(error.code(), Errc::kGuestFault);
  EXPECT_THAT(error.text(), HasSubstr("payload of 262145 bytes is over the limit"));
}

TEST(Frame, OfDataOverTheLargestChunkIsRefusedBeforeItIsThere) {
  const Error error = refusal_of_length(FrameType::kData, kMaxInputChunk + 1);
  EXPECT_EQ(error.code(), Errc::kGuestFault);
  EXPECT_THAT(error.text(), HasSubstr("payload of 1048577 bytes is over the limit"));
}

TEST(Frame, OfDataTellsInEachPieceWhatIsStillToCome) {
  FrameParser parser;
  const auto bytes = encoded({{1, FrameType::kData, 0, std::vector<std::byte>(100)}});
  feed(parser, {bytes.begin(), bytes.begin() + kHeaderSize + 30});
  Frame piece;
  ASSERT_TRUE(parser.next(piece).value());
  EXPECT_EQ(piece.rest, 70U);
  feed(parser, {bytes.begin() + kHeaderSize + 30, bytes.end()});
  ASSERT_TRUE(parser.next(piece).value());
  EXPECT_EQ(piece.rest, 0U);
}

TEST(Frame, WithALengthOfFourGigabytesIsRefused) {
  auto bytes = header();
  std::fill(bytes.begin() + 8, bytes.end(), std::byte{0xff});
  EXPECT_EQ(refusal(bytes).code(), Errc::kGuestFault);
}

TEST(Frame, OfAnUnknownTypeIsRefused) {
  for (const int type : {0, 15, 26, 255}) {
    auto bytes = header();
    bytes[4] = static_cast<std::byte>(type);
    EXPECT_THAT(refusal(bytes).text(), HasSubstr("unknown frame type " + std::to_string(type)));
  }
}

TEST(Frame, OfAChannelThatDoesNotExistIsRefused) {
  auto bytes = header();
  bytes[5] = std::byte{3};
  EXPECT_THAT(refusal(bytes).text(), HasSubstr("channel 3 does not exist"));
}

TEST(Frame, WithItsReservedFieldSetIsRefused) {
  for (const std::size_t at : {6U, 7U}) {
    auto bytes = header();
    bytes[at] = std::byte{1};
    EXPECT_THAT(refusal(bytes).text(), HasSubstr("reserved field is not zero"));
  }
}

TEST(FrameParser, HandsOnDataBeforeItsFrameIsWhole) {
  FrameParser parser;
  const auto bytes =
      encoded({{3, FrameType::kData, 1, bytes_of("some data")}, {3, FrameType::kEof, 1, {}}});
  feed(parser, std::span(bytes).first(kHeaderSize));
  Frame frame;
  EXPECT_FALSE(parser.next(frame).value());
  feed(parser, std::span(bytes).subspan(kHeaderSize, 4));
  ASSERT_TRUE(parser.next(frame).value());
  EXPECT_EQ(std::vector(frame.payload.begin(), frame.payload.end()), bytes_of("some"));
  EXPECT_FALSE(parser.next(frame).value());
  feed(parser, std::span(bytes).subspan(kHeaderSize + 4));
  ASSERT_TRUE(parser.next(frame).value());
  EXPECT_EQ(frame.stream, 3U);
  EXPECT_EQ(frame.channel, 1);
  EXPECT_EQ(std::vector(frame.payload.begin(), frame.payload.end()), bytes_of(" data"));
  ASSERT_TRUE(parser.next(frame).value());
  EXPECT_EQ(frame.type, FrameType::kEof);
}

TEST(FrameParser, KeepsItsBufferSmallOverManyFrames) {
  FrameParser parser;
  const auto bytes = encoded({{1, FrameType::kData, 1, std::vector<std::byte>(kMaxDataChunk)}});
  std::size_t frames = 0;
  for (int i = 0; i < 1000; ++i) {
    feed(parser, bytes);
    std::vector<Owned> got;
    take_all(parser, got);
    frames += got.size();
  }
  EXPECT_EQ(frames, 1000U);
  EXPECT_LE(parser.prepare(1).size(), 2 * bytes.size());
}

}  // namespace
}  // namespace mvm::wire
