// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/cmos.h"

#include <gtest/gtest.h>

namespace mvm::vmm {
namespace {

class CmosTest : public testing::Test {
 protected:
  std::time_t now_ = 1709251199;  // Thursday, 29 February 2024, 23:59:59
  Cmos cmos_{[this] { return now_; }};

  int read(int index) {
    cmos_.write_port(0, static_cast<std::uint8_t>(index));
    return cmos_.read_port(1);
  }
  void write(int index, int value) {
    cmos_.write_port(0, static_cast<std::uint8_t>(index));
    cmos_.write_port(1, static_cast<std::uint8_t>(value));
  }
};

TEST_F(CmosTest, ShowsTheHostsTimeInDecimal) {
  EXPECT_EQ(read(0x00), 0x59);
  EXPECT_EQ(read(0x02), 0x59);
  EXPECT_EQ(read(0x04), 0x23);
  EXPECT_EQ(read(0x06), 5);
  EXPECT_EQ(read(0x07), 0x29);
  EXPECT_EQ(read(0x08), 0x02);
  EXPECT_EQ(read(0x09), 0x24);
  EXPECT_EQ(read(0x32), 0x20);
  ++now_;
  EXPECT_EQ(read(0x00), 0x00);
  EXPECT_EQ(read(0x07), 0x01);
  EXPECT_EQ(read(0x08), 0x03);
}

TEST_F(CmosTest, IsNeverInAnUpdateAndAlwaysValid) {
  EXPECT_EQ(read(0x0a) & 0x80, 0);
  EXPECT_EQ(read(0x0b), 0x02);
  EXPECT_EQ(read(0x0c), 0);
  EXPECT_EQ(read(0x0d), 0x80);
}

TEST_F(CmosTest, KeepsItsFormatAndItsTimeWhateverIsWritten) {
  write(0x0b, 0x84);
  EXPECT_EQ(read(0x0b), 0x82);
  write(0x00, 0x11);
  EXPECT_EQ(read(0x00), 0x59);
}

TEST_F(CmosTest, KeepsOtherBytesAndIgnoresTheNmiBit) {
  write(0x0f, 0x0a);
  EXPECT_EQ(read(0x8f), 0x0a);
}

TEST_F(CmosTest, ComesBackFromASnapshot) {
  write(0x40, 77);
  ByteWriter writer;
  cmos_.save(writer);
  const auto saved = writer.take();
  Cmos other([this] { return now_; });
  ByteReader reader(saved);
  ASSERT_TRUE(other.restore(reader));
  EXPECT_EQ(other.read_port(1), 77);
  ByteReader half{std::span(saved).first(saved.size() - 1)};
  EXPECT_EQ(other.restore(half).error().code(), Errc::kCorrupt);
}

}  // namespace
}  // namespace mvm::vmm
