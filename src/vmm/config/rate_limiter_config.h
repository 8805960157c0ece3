// SPDX-License-Identifier: Apache-2.0
// Token buckets that slow a device down, as the API describes them.
//
// Source: Firecracker API 1.x, RateLimiter and TokenBucket.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/result.h"

namespace mvm::vmm {

// `size` tokens (bytes or operations) come back within `refill_time_ms`; `one_time_burst` more may
// be spent once, before the others. With a size or refill time of 0 nothing is limited.
struct TokenBucketConfig {
  std::uint64_t size = 0;
  std::optional<std::uint64_t> one_time_burst;
  std::uint64_t refill_time_ms = 0;

  bool limits() const { return size != 0 && refill_time_ms != 0; }
  friend bool operator==(const TokenBucketConfig&, const TokenBucketConfig&) = default;
};

// In an update a bucket that is absent stays as it is, and one that does not limit is taken away.
struct RateLimiterConfig {
  std::optional<TokenBucketConfig> bandwidth;  // tokens are bytes
  std::optional<TokenBucketConfig> ops;        // tokens are operations

  friend bool operator==(const RateLimiterConfig&, const RateLimiterConfig&) = default;
};

// What a limiter is after an update.
RateLimiterConfig updated(const RateLimiterConfig& now, const RateLimiterConfig& update);

// Errors: kInvalidArgument when a bucket's size and burst, or its refill time, would overflow the
// arithmetic of a limiter (2^63 tokens, 2^63 nanoseconds). `what` names the limiter.
Result<> validate(const RateLimiterConfig& config, std::string_view what);
Result<> validate(const TokenBucketConfig& config, std::string_view what);

}  // namespace mvm::vmm
