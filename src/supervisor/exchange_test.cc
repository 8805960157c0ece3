// SPDX-License-Identifier: Apache-2.0
#include "supervisor/exchange.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include "sys/io.h"

namespace mvm::supervisor {
namespace {

using wire::Frame;
using wire::FrameType;

constexpr std::uint32_t kSlot = wire::kMaxInputChunk;
constexpr std::size_t kSlots = wire::kExchangeInput / kSlot;

std::vector<std::byte> pattern(std::size_t size, int seed) {
  std::vector<std::byte> out(size);
  for (std::size_t i = 0; i < size; ++i)
    out[i] = static_cast<std::byte>((i * 31 + i / 251 + static_cast<std::size_t>(seed)) & 0xff);
  return out;
}

class ExchangeTest : public testing::Test {
 protected:
  // A guest that reads what it is told at once: `taken_` is what each stream's process gets.
  void on_frame(const Frame& frame) {
    types_.push_back(frame.type);
    std::vector<std::byte>& taken = taken_[frame.stream];
    if (frame.type == FrameType::kData)
      taken.insert(taken.end(), frame.payload.begin(), frame.payload.end());
    if (frame.type != FrameType::kDataAt) return;
    const wire::DataAt where = wire::decode_data_at(frame.payload).value();
    places_.push_back(where);
    std::vector<std::byte> bytes(where.length);
    ASSERT_EQ(::pread(reader_.get(), bytes.data(), bytes.size(), where.offset),
              static_cast<ssize_t>(bytes.size()));
    taken.insert(taken.end(), bytes.begin(), bytes.end());
  }
  void send(std::uint32_t stream, const std::vector<std::byte>& bytes, std::uint32_t rest = 0) {
    disk_.send({stream, FrameType::kData, wire::kStdin, bytes, rest});
  }
  void end_turn() { (void)loop_.run_once(Deadline::after(Millis(0), "nothing")); }

  sys::EventLoop loop_ = sys::EventLoop::create().value();
  sys::UniqueFd memory_ = memory();
  sys::UniqueFd reader_{::dup(memory_.get())};
  Exchange disk_{loop_, std::move(memory_), [this](const Frame& f) { on_frame(f); }};
  std::vector<FrameType> types_;
  std::vector<wire::DataAt> places_;
  std::map<std::uint32_t, std::vector<std::byte>> taken_;

  static sys::UniqueFd memory() {
    sys::UniqueFd fd = sys::memory_file("input", "").value();
    EXPECT_EQ(::ftruncate(fd.get(), wire::kExchangeSize), 0);
    return fd;
  }
};

TEST_F(ExchangeTest, LittleInputGoesAsItIsAndAtOnce) {
  send(1, pattern(100, 1));
  EXPECT_THAT(types_, testing::ElementsAre(FrameType::kData));
  EXPECT_EQ(disk_.free_slots(), kSlots);
}

TEST_F(ExchangeTest, AFullSlotGoesByItsPlaceAndAtOnce) {
  const auto bytes = pattern(kSlot, 2);
  send(1, bytes);
  EXPECT_THAT(types_, testing::ElementsAre(FrameType::kDataAt));
  EXPECT_EQ(taken_[1], bytes);
}

TEST_F(ExchangeTest, SeveralFramesOfATurnGoTogether) {
  const auto bytes = pattern(128 * 1024, 3);
  send(1, {bytes.begin(), bytes.begin() + 65536});
  send(1, {bytes.begin() + 65536, bytes.end()});
  EXPECT_TRUE(types_.empty());
  end_turn();
  EXPECT_THAT(types_, testing::ElementsAre(FrameType::kDataAt));
  EXPECT_EQ(taken_[1], bytes);
}

TEST_F(ExchangeTest, WaitsOverTurnsForTheRestOfAFrameThatHasBegun) {
  const auto bytes = pattern(kSlot, 4);
  send(1, {bytes.begin(), bytes.begin() + 50'000}, kSlot - 50'000);
  end_turn();
  EXPECT_TRUE(types_.empty());
  send(1, {bytes.begin() + 50'000, bytes.end()});
  EXPECT_THAT(types_, testing::ElementsAre(FrameType::kDataAt));
  EXPECT_EQ(taken_[1], bytes);
}

TEST_F(ExchangeTest, WhatFillsNoBlockFollowsBehind) {
  const auto bytes = pattern(100'001, 5);
  send(1, bytes);
  end_turn();
  EXPECT_THAT(types_, testing::ElementsAre(FrameType::kDataAt, FrameType::kData));
  EXPECT_EQ(places_[0].length % wire::kExchangeBlock, 0U);
  EXPECT_EQ(taken_[1], bytes);
}

TEST_F(ExchangeTest, TheEndOfInputComesBehindWhatWasHeld) {
  send(1, pattern(65536, 6));
  disk_.send({1, FrameType::kEof, wire::kStdin, {}, 0});
  EXPECT_THAT(types_, testing::ElementsAre(FrameType::kDataAt, FrameType::kEof));
}

TEST_F(ExchangeTest, SlotsOfOneStreamLieSideBySide) {
  send(1, pattern(3 * kSlot, 7));
  ASSERT_EQ(places_.size(), 3U);
  EXPECT_EQ(places_[1].offset, places_[0].offset + kSlot);
  EXPECT_EQ(places_[2].offset, places_[1].offset + kSlot);
}

TEST_F(ExchangeTest, CreditFreesASlotOnlyWhenAllOfItIsTaken) {
  send(1, pattern(kSlot, 8));
  disk_.on_credit(1, kSlot - 1);
  EXPECT_EQ(disk_.free_slots(), kSlots - 1);
  disk_.on_credit(1, 1);
  EXPECT_EQ(disk_.free_slots(), kSlots);
}

TEST_F(ExchangeTest, MoreCreditThanWasSentDoesNoHarm) {
  send(1, pattern(kSlot, 9));
  disk_.on_credit(1, 0xffff'ffff);
  disk_.on_credit(1, 7);
  disk_.on_credit(2, 7);
  EXPECT_EQ(disk_.free_slots(), kSlots);
}

TEST_F(ExchangeTest, AClosedStreamFreesAllItsSlots) {
  send(1, pattern(2 * kSlot + 70'000, 10));
  disk_.on_closed(1);
  EXPECT_EQ(disk_.free_slots(), kSlots);
}

TEST_F(ExchangeTest, WithoutAFreeSlotDataGoesAsItIs) {
  const auto bytes = pattern((kSlots + 2) * kSlot, 11);
  send(1, bytes);
  EXPECT_EQ(disk_.free_slots(), 0U);
  EXPECT_EQ(types_.back(), FrameType::kData);
  EXPECT_EQ(taken_[1], bytes);
}

TEST_F(ExchangeTest, KeepsTheOrderWhenSlotsAreFreeAgain) {
  const auto bytes = pattern((kSlots + 1) * kSlot, 12);
  send(1, bytes);
  disk_.on_credit(1, 2 * kSlot);
  const auto more = pattern(kSlot, 13);
  send(1, more);
  EXPECT_EQ(types_.back(), FrameType::kDataAt);
  std::vector<std::byte> all = bytes;
  all.insert(all.end(), more.begin(), more.end());
  EXPECT_EQ(taken_[1], all);
}

TEST_F(ExchangeTest, StreamsThatAreFilledInTurnStayApart) {
  const auto one = pattern(kSlot, 14);
  const auto two = pattern(kSlot, 15);
  send(1, {one.begin(), one.begin() + 100'000}, kSlot - 100'000);
  send(2, {two.begin(), two.begin() + 100'000}, kSlot - 100'000);
  send(1, {one.begin() + 100'000, one.end()});
  send(2, {two.begin() + 100'000, two.end()});
  EXPECT_EQ(taken_[1], one);
  EXPECT_EQ(taken_[2], two);
}

TEST_F(ExchangeTest, MemoryIsGivenBack) {
  send(1, pattern(kSlot, 16));
  struct stat before;
  ASSERT_EQ(::fstat(reader_.get(), &before), 0);
  EXPECT_GT(before.st_blocks, 0);
  disk_.on_closed(1);
  disk_.give_back();
  struct stat after;
  ASSERT_EQ(::fstat(reader_.get(), &after), 0);
  EXPECT_EQ(after.st_blocks, 0);
}

TEST_F(ExchangeTest, DeliversWhatTheGuestHasPutAndThenTellsThatItHasBeenRead) {
  const auto bytes = pattern(700 * 1024, 18);
  ASSERT_EQ(::pwrite(reader_.get(), bytes.data(), bytes.size(), wire::kExchangeInput + kSlot),
            static_cast<ssize_t>(bytes.size()));
  std::vector<std::byte> got;
  const auto payload = wire::encode(
      wire::DataAt{wire::kExchangeInput + kSlot, static_cast<std::uint32_t>(bytes.size())});
  ASSERT_TRUE(
      disk_.receive({5, FrameType::kDataAt, wire::kStderr, payload, 0}, [&](const Frame& f) {
        EXPECT_EQ(f.stream, 5U);
        EXPECT_EQ(f.type, FrameType::kData);
        EXPECT_EQ(f.channel, wire::kStderr);
        EXPECT_LE(f.payload.size(), wire::kMaxDataChunk);
        EXPECT_TRUE(types_.empty());
        got.insert(got.end(), f.payload.begin(), f.payload.end());
        return Result<>();
      }));
  EXPECT_EQ(got, bytes);
  EXPECT_THAT(types_, testing::ElementsAre(FrameType::kTaken));
}

TEST_F(ExchangeTest, RefusesAGuestThatPointsIntoTheHostsHalf) {
  const auto payload = wire::encode(wire::DataAt{wire::kExchangeInput - 4096, 8192});
  const auto done = disk_.receive({5, FrameType::kDataAt, wire::kStdout, payload, 0},
                                  [](const Frame&) { return Result<>(); });
  EXPECT_EQ(done.error().code(), Errc::kGuestFault);
  EXPECT_TRUE(types_.empty());
}

TEST(Exchange, KeepsBackWhatItHasReadFromAGuestThatReadsNothing) {
  sys::EventLoop loop = sys::EventLoop::create().value();
  sys::UniqueFd memory = sys::memory_file("exchange", "").value();
  ASSERT_EQ(::ftruncate(memory.get(), wire::kExchangeSize), 0);
  bool congested = true;
  int told = 0;
  Exchange disk(
      loop, std::move(memory), [&](const Frame& f) { told += f.type == FrameType::kTaken; },
      [&] { return congested; });
  const auto deliver = [](const Frame&) { return Result<>(); };
  const auto payload = wire::encode(wire::DataAt{wire::kExchangeInput, 4096});
  const Frame frame{5, FrameType::kDataAt, wire::kStdout, payload, 0};
  ASSERT_TRUE(disk.receive(frame, deliver));
  EXPECT_EQ(told, 0);
  EXPECT_EQ(disk.receive(frame, deliver).error().code(), Errc::kGuestFault);
  congested = false;
  disk.tell_taken();
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(disk.receive(frame, deliver));
}

TEST_F(ExchangeTest, PassesOnThatAStreamTookNothing) {
  const auto payload = wire::encode(wire::DataAt{wire::kExchangeInput, 4096});
  const auto done =
      disk_.receive({5, FrameType::kDataAt, wire::kStdout, payload, 0},
                    [](const Frame&) -> Result<> { return Error(Errc::kGuestFault, "closed"); });
  EXPECT_EQ(done.error().message(), "closed");
  EXPECT_TRUE(types_.empty());
}

TEST(Exchange, SendsAsItIsWhatTheMemoryDoesNotTake) {
  sys::EventLoop loop = sys::EventLoop::create().value();
  std::vector<std::byte> got;
  Exchange disk(loop, sys::open_file("/dev/full", O_WRONLY).value(), [&](const Frame& frame) {
    ASSERT_EQ(frame.type, FrameType::kData);
    got.insert(got.end(), frame.payload.begin(), frame.payload.end());
  });
  const auto bytes = pattern(kSlot + 5000, 17);
  disk.send({1, FrameType::kData, wire::kStdin, bytes, 0});
  (void)loop.run_once(Deadline::after(Millis(0), "nothing"));
  EXPECT_EQ(got, bytes);
  EXPECT_EQ(disk.free_slots(), kSlots);
}

}  // namespace
}  // namespace mvm::supervisor
