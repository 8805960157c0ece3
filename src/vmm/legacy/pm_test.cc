// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/pm.h"

#include <gtest/gtest.h>

namespace mvm::vmm {
namespace {

TEST(SleepControl, TurnsTheGuestOffForS5Only) {
  int offs = 0;
  SleepControl control([&] { ++offs; });
  control.write_port(0, 5 << 2);  // not enabled
  control.write_port(0, 0x20 | 1 << 2);
  control.write_port(1, 0x20 | 5 << 2);  // the status register
  EXPECT_EQ(offs, 0);
  control.write_port(0, 0x20 | kSleepTypeOff << 2);
  EXPECT_EQ(offs, 1);
  EXPECT_EQ(control.read_port(1), 0);
}

TEST(ResetControl, ResetsAsLinuxDoesIt) {
  int resets = 0;
  ResetControl control([&] { ++resets; });
  control.write_port(0, 0x02);  // Linux says first which kind of reset it will be
  EXPECT_EQ(resets, 0);
  EXPECT_EQ(control.read_port(0), 0x02);
  control.write_port(0, kResetControlValue);
  EXPECT_EQ(resets, 1);
}

}  // namespace
}  // namespace mvm::vmm
