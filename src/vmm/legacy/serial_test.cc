// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/serial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <thread>

namespace mvm::vmm {
namespace {

// Registers and bits, as Linux's 8250 driver names them.
constexpr std::uint16_t kTx = 0;
constexpr std::uint16_t kRx = 0;
constexpr std::uint16_t kIer = 1;
constexpr std::uint16_t kIir = 2;
constexpr std::uint16_t kFcr = 2;
constexpr std::uint16_t kEfr = 2;
constexpr std::uint16_t kLcr = 3;
constexpr std::uint16_t kMcr = 4;
constexpr std::uint16_t kLsr = 5;
constexpr std::uint16_t kMsr = 6;
constexpr std::uint16_t kScr = 7;
constexpr std::uint8_t kNoInterrupt = 0x01;

class SerialTest : public testing::Test {
 protected:
  int interrupts_ = 0;
  int spaces_ = 0;
  std::string sent_;
  Serial port_{wires()};

  Serial::Wires wires() {
    return {.interrupt = [this] { ++interrupts_; },
            .output =
                [this](std::span<const std::byte> bytes) {
                  for (const std::byte byte : bytes) sent_ += static_cast<char>(byte);
                },
            .input_space = [this] { ++spaces_; }};
  }
  void out(std::uint16_t offset, int value) {
    port_.write_port(offset, static_cast<std::uint8_t>(value));
  }
  int in(std::uint16_t offset) { return port_.read_port(offset); }
  std::size_t input(std::string_view text) { return port_.input(std::as_bytes(std::span(text))); }
  std::string read_all() {
    std::string out;
    while ((in(kLsr) & 1) != 0) out += static_cast<char>(in(kRx));
    return out;
  }
};

TEST_F(SerialTest, PassesTheProbeOfTheInterruptEnableRegister) {
  out(kIer, 0);
  EXPECT_EQ(in(kIer), 0);
  out(kIer, 0x0f);
  EXPECT_EQ(in(kIer), 0x0f);
  out(kIer, 0x40);  // an XScale port would keep this bit
  EXPECT_EQ(in(kIer), 0);
}

TEST_F(SerialTest, PassesTheLoopbackProbe) {
  const int saved = in(kMcr);
  out(kMcr, 0x10 | 0x08 | 0x02);  // loop, OUT2, RTS
  EXPECT_EQ(in(kMsr) & 0xf0, 0x90);
  out(kMcr, saved);
  EXPECT_EQ(in(kMsr) & 0xf0, 0xb0);
}

TEST_F(SerialTest, IsTakenForA16550AAndNothingLater) {
  out(kLcr, 0xbf);
  out(kEfr, 0);
  out(kLcr, 0);
  out(kFcr, 1);
  EXPECT_EQ(in(kIir) >> 6, 3);  // a 16550A
  out(kLcr, 0x80);
  EXPECT_NE(in(kEfr), 0);  // no 16650
  out(kLcr, 0xbf);
  EXPECT_NE(in(kEfr), 0);  // no 16850
  out(kLcr, 0xe0);
  EXPECT_EQ(in(2) & 0x10, 0);  // no NS16550A with its loop bit here
  out(kLcr, 0);
  out(kFcr, 1);
  EXPECT_EQ(in(kIir) >> 5 & 7, 6);  // no TI16750
}

TEST_F(SerialTest, KeepsScratchAndDivisor) {
  out(kScr, 0x5a);
  EXPECT_EQ(in(kScr), 0x5a);
  out(kLcr, 0x83);
  out(0, 0x34);
  out(1, 0x12);
  EXPECT_EQ(in(0), 0x34);
  EXPECT_EQ(in(1), 0x12);
  out(kLcr, 0x03);
  EXPECT_EQ(in(kIer), 0);
  EXPECT_EQ(sent_, "");
}

TEST_F(SerialTest, SendsAndIsReadyAtOnce) {
  for (const char c : std::string("hello")) {
    EXPECT_EQ(in(kLsr) & 0x60, 0x60);
    out(kTx, c);
  }
  EXPECT_EQ(sent_, "hello");
  EXPECT_EQ(interrupts_, 0);
}

TEST_F(SerialTest, AssertsTransmitterEmptyEachTimeItIsEnabled) {
  // Linux looks twice, and works around a port that does not do this.
  for (int i = 1; i <= 2; ++i) {
    out(kIer, 2);
    EXPECT_EQ(interrupts_, i);
    EXPECT_EQ(in(kIir), 0x02);
    EXPECT_EQ(in(kIir), kNoInterrupt);
    out(kIer, 0);
  }
}

TEST_F(SerialTest, InterruptsOnceForABurstOfBytes) {
  out(kIer, 2);
  EXPECT_EQ(in(kIir), 0x02);
  for (int i = 0; i < 16; ++i) out(kTx, 'x');
  EXPECT_EQ(interrupts_, 2);
  EXPECT_EQ(in(kIir), 0x02);
  EXPECT_EQ(in(kIir), kNoInterrupt);
}

TEST_F(SerialTest, InterruptsForInputAndHandsItOver) {
  out(kFcr, 1);
  out(kIer, 1);
  EXPECT_EQ(input("ls\n"), 3U);
  EXPECT_EQ(interrupts_, 1);
  EXPECT_EQ(in(kIir), 0xc4);
  EXPECT_EQ(read_all(), "ls\n");
  EXPECT_EQ(in(kIir), 0xc1);
}

TEST_F(SerialTest, InterruptsForInputThatCameBeforeTheDriver) {
  EXPECT_EQ(input("x"), 1U);
  EXPECT_EQ(interrupts_, 0);
  out(kIer, 1);
  EXPECT_EQ(interrupts_, 1);
}

TEST_F(SerialTest, InterruptsForEveryByteWithoutTheFifo) {
  out(kIer, 1);
  ASSERT_EQ(input("ab"), 2U);
  EXPECT_EQ(in(kRx), 'a');
  EXPECT_EQ(interrupts_, 2);
  EXPECT_EQ(in(kRx), 'b');
  EXPECT_EQ(interrupts_, 2);
}

TEST_F(SerialTest, ShowsInputBeforeTransmitterEmpty) {
  out(kIer, 3);
  ASSERT_EQ(input("x"), 1U);
  EXPECT_EQ(in(kIir), 0x04);
  EXPECT_EQ(in(kRx), 'x');
  EXPECT_EQ(in(kIir), 0x02);
}

TEST_F(SerialTest, TakesNoMoreThanItsFifoAndTellsOfSpace) {
  out(kFcr, 1);
  const std::string text(100, 'y');
  EXPECT_EQ(input(text), Serial::kFifoSize);
  EXPECT_EQ(input("z"), 0U);
  in(kRx);
  EXPECT_EQ(spaces_, 0);
  EXPECT_EQ(read_all().size(), Serial::kFifoSize - 1);
  EXPECT_EQ(spaces_, 1);
  EXPECT_EQ(input("z"), 1U);
  EXPECT_EQ(read_all(), "z");
  EXPECT_EQ(spaces_, 1);
  EXPECT_EQ(in(kLsr) & 0x02, 0);  // nothing was overrun
}

TEST_F(SerialTest, ForgetsInputWhenTheFifoIsCleared) {
  out(kFcr, 1);
  ASSERT_EQ(input(std::string(65, 'y')), 64U);
  out(kFcr, 1 | 2);
  EXPECT_EQ(in(kLsr) & 1, 0);
  EXPECT_EQ(spaces_, 1);
}

TEST_F(SerialTest, LoopsBytesBackWithoutSendingThem) {
  out(kFcr, 1);
  out(kMcr, 0x10);
  out(kTx, 'q');
  EXPECT_EQ(sent_, "");
  EXPECT_EQ(input("host"), 0U);
  EXPECT_EQ(read_all(), "q");
  EXPECT_EQ(spaces_, 0);
  out(kMcr, 0);
  EXPECT_EQ(spaces_, 1);
  EXPECT_EQ(input("host"), 4U);
}

TEST_F(SerialTest, ReportsAnOverrunInLoopback) {
  out(kFcr, 1);
  out(kMcr, 0x10);
  out(kIer, 4);
  for (std::size_t i = 0; i <= Serial::kFifoSize; ++i) out(kTx, 'q');
  EXPECT_EQ(interrupts_, 1);
  EXPECT_EQ(in(kIir), 0xc6);
  EXPECT_EQ(in(kLsr) & 0x02, 0x02);
  EXPECT_EQ(in(kLsr) & 0x02, 0);
  EXPECT_EQ(in(kIir), 0xc1);
}

TEST_F(SerialTest, ReportsChangesOfTheModemLinesOnce) {
  out(kIer, 8);
  out(kMcr, 0x10);  // carrier, data set ready and clear to send drop
  EXPECT_EQ(interrupts_, 1);
  EXPECT_EQ(in(kIir), 0x00);
  EXPECT_EQ(in(kMsr), 0x0b);
  EXPECT_EQ(in(kMsr), 0x00);
  EXPECT_EQ(in(kIir), kNoInterrupt);
  out(kMcr, 0x14);  // the ring shows when it ends
  EXPECT_EQ(in(kMsr), 0x40);
  out(kMcr, 0x10);
  EXPECT_EQ(in(kMsr), 0x04);
}

TEST_F(SerialTest, ComesBackFromASnapshot) {
  out(kFcr, 1);
  out(kIer, 5);
  out(kScr, 9);
  out(kMcr, 0x0b);
  ASSERT_EQ(input("abc"), 3U);
  ASSERT_EQ(in(kRx), 'a');
  ByteWriter writer;
  port_.save(writer);
  const auto saved = writer.take();

  Serial other(wires());
  ByteReader reader(saved);
  ASSERT_TRUE(other.restore(reader));
  EXPECT_TRUE(reader.done());
  EXPECT_EQ(other.read_port(kIir), 0xc4);
  EXPECT_EQ(other.read_port(kRx), 'b');
  EXPECT_EQ(other.read_port(kRx), 'c');
  EXPECT_EQ(other.read_port(kScr), 9);
  EXPECT_EQ(other.read_port(kMcr), 0x0b);
  ByteReader half{std::span(saved).first(saved.size() - 1)};
  EXPECT_EQ(other.restore(half).error().code(), Errc::kCorrupt);
}

TEST_F(SerialTest, LosesNothingBetweenTwoThreads) {
  out(kFcr, 1);
  const std::string text(4'000, 'k');
  std::thread host([&] {
    std::size_t done = 0;
    while (done < text.size()) done += input(std::string_view(text).substr(done));
  });
  std::string got;
  while (got.size() < text.size()) got += read_all();
  host.join();
  EXPECT_EQ(got, text);
}

}  // namespace
}  // namespace mvm::vmm
