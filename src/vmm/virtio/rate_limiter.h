// SPDX-License-Identifier: Apache-2.0
// How much I/O a device may do: one token bucket for bytes and one for operations.
//
// A bucket holds `size` tokens and fills up in `refill_time`, at an even rate; `one_time_burst`
// tokens come on top of that once, are spent first and never come back. What is larger than the
// bucket passes when the bucket is full and leaves a debt, so that the rate holds for it too.
//
// Source: Firecracker API 1.x, RateLimiter and TokenBucket.
// Threads: none; the owner serialises. Time is always passed in.
#pragma once

#include <cstdint>
#include <optional>

#include "core/codec.h"
#include "core/result.h"
#include "core/units.h"

namespace mvm::vmm {

// A size or refill time of zero: no limit.
struct BucketLimits {
  std::uint64_t size = 0;            // Units: tokens
  std::uint64_t one_time_burst = 0;  // Units: tokens
  std::uint64_t refill_time_ms = 0;  // over a year counts as a year
  bool operator==(const BucketLimits&) const = default;
};

// One device's limits, or a change to them: what is absent stays as it is (at first: unlimited).
struct RateLimits {
  std::optional<BucketLimits> bandwidth;  // Units: bytes
  std::optional<BucketLimits> ops;
  bool operator==(const RateLimits&) const = default;
};

class TokenBucket {
 public:
  TokenBucket() = default;  // no limit
  // Full.
  explicit TokenBucket(const BucketLimits& limits);

  const BucketLimits& limits() const { return limits_; }
  bool unlimited() const { return refill_.count() == 0; }
  // How long until so many tokens can be taken; zero: now.
  std::chrono::nanoseconds wait_for(std::uint64_t tokens, Clock::time_point now) const;
  // Takes them, into debt where there are not enough.
  void take(std::uint64_t tokens, Clock::time_point now);

  void save(ByteWriter& out, Clock::time_point now) const;
  // Errors: kCorrupt.
  static Result<TokenBucket> restore(ByteReader& in, Clock::time_point now);

 private:
  BucketLimits limits_;
  std::chrono::nanoseconds refill_{0};
  std::uint64_t burst_ = 0;  // what is left of it
  // The level is kept as the time at which the bucket will be full again, in whole nanoseconds and
  // the rest of the division by `size`: no token is lost to rounding.
  Clock::time_point full_at_{};
  std::uint64_t rest_ = 0;
};

class RateLimiter {
 public:
  RateLimiter() = default;  // no limits
  explicit RateLimiter(const RateLimits& limits) { update(limits); }

  // Replaces the buckets that are given by full ones. Source: PATCH of a drive or interface.
  void update(const RateLimits& limits);
  RateLimits limits() const;
  bool unlimited() const { return bandwidth_.unlimited() && ops_.unlimited(); }

  // Takes from both buckets, or from neither. Returns zero when taken, else how long to wait
  // before it is worth asking again (at least 1 ms).
  Millis consume(std::uint64_t bytes, std::uint64_t ops, Clock::time_point now);

  void save(ByteWriter& out, Clock::time_point now) const;
  // Time that has passed since save() does not count. Errors: kCorrupt.
  Result<> restore(ByteReader& in, Clock::time_point now);

 private:
  TokenBucket bandwidth_;
  TokenBucket ops_;
};

}  // namespace mvm::vmm
