// SPDX-License-Identifier: Apache-2.0
#include "core/checked.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace mvm {
namespace {

constexpr std::uint32_t kMax = std::numeric_limits<std::uint32_t>::max();

TEST(Checked, AddsUpToTheLargestNumber) {
  EXPECT_EQ(checked_add(kMax - 1, 1U), kMax);
  EXPECT_EQ(checked_add(kMax, 1U), std::nullopt);
}

TEST(Checked, MultipliesUpToTheLargestNumber) {
  EXPECT_EQ(checked_mul(0x10000U, 0xffffU), 0xffff0000U);
  EXPECT_EQ(checked_mul(0x10000U, 0x10000U), std::nullopt);
}

TEST(Checked, RefusesSignedOverflowBothWays) {
  EXPECT_EQ(checked_add(std::numeric_limits<int>::min(), -1), std::nullopt);
  EXPECT_EQ(checked_mul(std::numeric_limits<int>::min(), -1), std::nullopt);
  EXPECT_EQ(checked_add(-5, 3), -2);
}

TEST(Checked, WorksAtCompileTime) {
  static_assert(checked_mul(6, 7) == 42);
  static_assert(!checked_mul(kMax, 2U));
}

}  // namespace
}  // namespace mvm
