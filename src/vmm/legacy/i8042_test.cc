// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/i8042.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace mvm::vmm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class I8042Test : public testing::Test {
 protected:
  int interrupts_ = 0;
  int resets_ = 0;
  I8042 controller_{{.interrupt = [this] { ++interrupts_; }, .reset = [this] { ++resets_; }}};

  int status() { return controller_.read_port(4); }
  void command(int value) { controller_.write_port(4, static_cast<std::uint8_t>(value)); }
  void data(int value) { controller_.write_port(0, static_cast<std::uint8_t>(value)); }
  std::vector<int> read_all() {
    std::vector<int> out;
    while ((status() & 1) != 0) out.push_back(controller_.read_port(0));
    return out;
  }
  std::vector<int> answer(int value) {
    data(value);
    return read_all();
  }
  // As Linux leaves it for its keyboard driver.
  void enable_keyboard() {
    command(0x60);
    data(0x25);
    ASSERT_THAT(answer(0xf4), ElementsAre(0xfa));
    interrupts_ = 0;
  }
};

TEST_F(I8042Test, PassesItsSelfTestAndHasItsConfiguration) {
  EXPECT_EQ(status() & 1, 0);
  EXPECT_NE(status() & 0x10, 0);  // the keyboard is not locked
  command(0xaa);
  EXPECT_THAT(read_all(), ElementsAre(0x55));
  command(0x60);
  data(0x7f);
  command(0x20);
  EXPECT_THAT(read_all(), ElementsAre(0x3f));  // without translation
  command(0xab);
  EXPECT_THAT(read_all(), ElementsAre(0x00));
}

TEST_F(I8042Test, SaysAtOnceThatNoMouseIsThere) {
  // Linux tries the loop first and takes a byte that is not marked as the second port's for a no.
  command(0xd3);
  data(0x5a);
  EXPECT_EQ(status() & 0x21, 0x01);
  EXPECT_THAT(read_all(), ElementsAre(0x5a));
  command(0xa9);
  EXPECT_THAT(read_all(), ElementsAre(0x01));
}

TEST_F(I8042Test, HasAKeyboardThatAnswers) {
  command(0xae);
  EXPECT_THAT(answer(0xff), ElementsAre(0xfa, 0xaa));
  EXPECT_THAT(answer(0xf2), ElementsAre(0xfa, 0xab, 0x83));
  EXPECT_THAT(answer(0xed), ElementsAre(0xfa));
  EXPECT_THAT(answer(0x02), ElementsAre(0xfa));
  EXPECT_THAT(answer(0xf3), ElementsAre(0xfa));
  EXPECT_THAT(answer(0x00), ElementsAre(0xfa));
  EXPECT_THAT(answer(0xf0), ElementsAre(0xfa));
  EXPECT_THAT(answer(0x00), ElementsAre(0xfa, 2));
  EXPECT_THAT(answer(0xee), ElementsAre(0xee));
  EXPECT_THAT(answer(0x01), ElementsAre(0xfe));
}

TEST_F(I8042Test, InterruptsForEveryByteOfTheKeyboard) {
  command(0x60);
  data(0x25);
  data(0xf2);
  EXPECT_EQ(interrupts_, 1);
  controller_.read_port(0);
  EXPECT_EQ(interrupts_, 2);
  controller_.read_port(0);
  EXPECT_EQ(interrupts_, 3);
  controller_.read_port(0);
  EXPECT_EQ(interrupts_, 3);
}

TEST_F(I8042Test, InterruptsForNothingOfItsOwn) {
  command(0x60);
  data(0x25);
  command(0x20);
  EXPECT_EQ(interrupts_, 0);
}

TEST_F(I8042Test, TypesCtrlAltDel) {
  enable_keyboard();
  ASSERT_TRUE(controller_.press_ctrl_alt_del());
  EXPECT_EQ(interrupts_, 1);
  EXPECT_THAT(read_all(),
              ElementsAre(0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0, 0x71, 0xf0, 0x11, 0xf0, 0x14));
  EXPECT_EQ(interrupts_, 11);
}

TEST_F(I8042Test, TypesNothingToAGuestThatHasTurnedItsKeyboardOff) {
  ASSERT_TRUE(controller_.press_ctrl_alt_del());
  EXPECT_EQ(controller_.press_ctrl_alt_del().error().code(), Errc::kBusy);
  command(0xad);
  EXPECT_EQ(controller_.press_ctrl_alt_del().error().code(), Errc::kUnavailable);
}

TEST_F(I8042Test, HoldsKeysBackWhileTheKeyboardIsOff) {
  enable_keyboard();
  ASSERT_TRUE(controller_.press_ctrl_alt_del());
  command(0xad);
  EXPECT_THAT(read_all(), IsEmpty());
  interrupts_ = 0;
  command(0xae);
  EXPECT_EQ(interrupts_, 1);
  EXPECT_EQ(read_all().size(), 11U);
}

TEST_F(I8042Test, ResetsTheGuest) {
  command(0xfe);
  EXPECT_EQ(resets_, 1);
  command(0xff);  // no line is pulsed
  EXPECT_EQ(resets_, 1);
  command(0xd1);
  data(0x02);
  EXPECT_EQ(resets_, 2);
}

TEST_F(I8042Test, ComesBackFromASnapshot) {
  enable_keyboard();
  ASSERT_TRUE(controller_.press_ctrl_alt_del());
  ASSERT_EQ(controller_.read_port(0), 0x14);
  ByteWriter writer;
  controller_.save(writer);
  const auto saved = writer.take();

  I8042 other({});
  ByteReader reader(saved);
  ASSERT_TRUE(other.restore(reader));
  EXPECT_TRUE(reader.done());
  EXPECT_EQ(other.read_port(0), 0x11);
  for (int i = 0; i < 9; ++i) other.read_port(0);
  EXPECT_TRUE(other.press_ctrl_alt_del());
  for (std::size_t length = 0; length < saved.size(); ++length) {
    ByteReader half{std::span(saved).first(length)};
    EXPECT_EQ(other.restore(half).error().code(), Errc::kCorrupt);
  }
}

}  // namespace
}  // namespace mvm::vmm
