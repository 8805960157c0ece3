// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/rate_limiter.h"

#include <gtest/gtest.h>

#include <limits>

namespace mvm::vmm {
namespace {

using std::chrono::nanoseconds;

constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();
const Clock::time_point kStart{std::chrono::hours(1000)};

RateLimiter bandwidth(std::uint64_t size, std::uint64_t refill_ms, std::uint64_t burst = 0) {
  return RateLimiter({BucketLimits{size, burst, refill_ms}, {}});
}

TEST(RateLimiter, WithoutLimitsTakesEverything) {
  RateLimiter limiter;
  EXPECT_TRUE(limiter.unlimited());
  EXPECT_EQ(limiter.consume(kHuge, kHuge, kStart), Millis(0));
}

TEST(RateLimiter, ASizeOrARefillTimeOfZeroIsNoLimit) {
  RateLimiter limiter({BucketLimits{0, 5, 100}, BucketLimits{100, 0, 0}});
  EXPECT_TRUE(limiter.unlimited());
  EXPECT_EQ(limiter.consume(1000, 1000, kStart), Millis(0));
}

TEST(RateLimiter, AFullBucketPassesItsSizeAtOnceAndThenItsRate) {
  RateLimiter limiter = bandwidth(1000, 100);
  EXPECT_EQ(limiter.consume(600, 1, kStart), Millis(0));
  EXPECT_EQ(limiter.consume(400, 1, kStart), Millis(0));
  EXPECT_EQ(limiter.consume(100, 1, kStart), Millis(10));
  EXPECT_EQ(limiter.consume(100, 1, kStart + Millis(9)), Millis(1));
  EXPECT_EQ(limiter.consume(100, 1, kStart + Millis(10)), Millis(0));
}

TEST(RateLimiter, ABucketNeverHoldsMoreThanItsSize) {
  RateLimiter limiter = bandwidth(1000, 100);
  EXPECT_EQ(limiter.consume(1000, 1, kStart + std::chrono::hours(5)), Millis(0));
  EXPECT_EQ(limiter.consume(1000, 1, kStart + std::chrono::hours(5)), Millis(100));
}

TEST(RateLimiter, TheBurstIsSpentFirstAndOnce) {
  RateLimiter limiter = bandwidth(1000, 100, 5000);
  EXPECT_EQ(limiter.consume(5000, 1, kStart), Millis(0));
  EXPECT_EQ(limiter.consume(1000, 1, kStart), Millis(0));
  EXPECT_EQ(limiter.consume(1000, 1, kStart), Millis(100));
  EXPECT_EQ(limiter.consume(1000, 1, kStart + Millis(100)), Millis(0));
  EXPECT_EQ(limiter.consume(1000, 1, kStart + Millis(100)), Millis(100));
}

TEST(RateLimiter, ARequestLargerThanTheBucketPassesWhenItIsFullAndLeavesADebt) {
  RateLimiter limiter = bandwidth(1000, 100);
  EXPECT_EQ(limiter.consume(3000, 1, kStart), Millis(0));
  EXPECT_EQ(limiter.consume(1, 1, kStart), Millis(201));
  EXPECT_EQ(limiter.consume(3000, 1, kStart + Millis(250)), Millis(50));
  EXPECT_EQ(limiter.consume(3000, 1, kStart + Millis(300)), Millis(0));
}

TEST(RateLimiter, TakesFromBothBucketsOrFromNeither) {
  RateLimiter limiter({BucketLimits{1000, 0, 1000}, BucketLimits{1, 0, 100}});
  EXPECT_EQ(limiter.consume(500, 1, kStart), Millis(0));
  EXPECT_EQ(limiter.consume(500, 1, kStart), Millis(100));
  EXPECT_EQ(limiter.consume(500, 0, kStart), Millis(0));
}

TEST(RateLimiter, SmallRequestsAtAHighRateLoseNothingToRounding) {
  // 30 bytes a nanosecond; each request costs a third of one.
  RateLimiter limiter = bandwidth(3'000'000'000, 100);
  ASSERT_EQ(limiter.consume(3'000'000'000, 1, kStart), Millis(0));
  const Clock::time_point later = kStart + nanoseconds(1000);
  std::uint64_t taken = 0;
  while (limiter.consume(10, 1, later) == Millis(0)) taken += 10;
  EXPECT_GE(taken, 30'000U);
  EXPECT_LT(taken, 30'000U + 30) << "more than what a nanosecond brings";
}

TEST(RateLimiter, SurvivesTheLargestNumbersOfTheApi) {
  RateLimiter limiter({BucketLimits{1, kHuge, kHuge}, BucketLimits{kHuge, kHuge, kHuge}});
  EXPECT_EQ(limiter.consume(kHuge, kHuge, kStart), Millis(0));
  EXPECT_EQ(limiter.consume(kHuge, kHuge, kStart), Millis(0));
  EXPECT_EQ(limiter.consume(1, 1, kStart), std::chrono::hours(24 * 365));
  EXPECT_EQ(limiter.consume(1, 1, kStart + std::chrono::hours(24 * 365)), Millis(0));
}

TEST(RateLimiter, AnUpdateReplacesTheGivenBucketAndLeavesTheOther) {
  RateLimiter limiter({BucketLimits{1000, 0, 100}, BucketLimits{2, 0, 100}});
  ASSERT_EQ(limiter.consume(1000, 1, kStart), Millis(0));
  limiter.update({BucketLimits{50, 0, 100}, {}});
  EXPECT_EQ(limiter.consume(50, 1, kStart), Millis(0));
  EXPECT_EQ(limiter.consume(0, 1, kStart), Millis(50));
  EXPECT_EQ(limiter.limits(), (RateLimits{BucketLimits{50, 0, 100}, BucketLimits{2, 0, 100}}));
}

TEST(RateLimiter, AnUpdateToZeroLiftsTheLimit) {
  RateLimiter limiter = bandwidth(1, 100);
  limiter.update({BucketLimits{}, {}});
  EXPECT_TRUE(limiter.unlimited());
  EXPECT_EQ(limiter.limits(), RateLimits{});
}

TEST(RateLimiter, KeepsItsLevelOverASave) {
  RateLimiter saved({BucketLimits{1000, 70, 100}, BucketLimits{7, 0, 1000}});
  ASSERT_EQ(saved.consume(770, 7, kStart), Millis(0));
  ByteWriter out;
  saved.save(out, kStart + Millis(10));
  const auto bytes = out.take();
  const Clock::time_point elsewhere{std::chrono::hours(3)};

  RateLimiter restored;
  ByteReader in(bytes);
  ASSERT_TRUE(restored.restore(in, elsewhere).has_value());

  EXPECT_TRUE(in.done());
  EXPECT_EQ(restored.limits(), saved.limits());
  EXPECT_EQ(restored.consume(500, 0, elsewhere), Millis(10));
  EXPECT_EQ(restored.consume(400, 0, elsewhere), Millis(0));
  EXPECT_EQ(restored.consume(0, 7, elsewhere), Millis(990));
}

TEST(RateLimiter, RefusesASavedStateThatIsNotOne) {
  const RateLimiter limiter = bandwidth(10, 100, 5);
  ByteWriter out;
  limiter.save(out, kStart);
  auto bytes = out.take();
  const auto most = std::span(bytes).first(bytes.size() - 1);
  ByteReader half(most);
  EXPECT_EQ(RateLimiter().restore(half, kStart).error().code(), Errc::kCorrupt);
  bytes[24] = std::byte{6};  // more burst than there ever was
  ByteReader wrong(bytes);
  EXPECT_EQ(RateLimiter().restore(wrong, kStart).error().code(), Errc::kCorrupt);
}

}  // namespace
}  // namespace mvm::vmm
