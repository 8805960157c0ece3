// SPDX-License-Identifier: Apache-2.0
// From the API's rate limiters to the devices'.
#pragma once

#include "vmm/config/rate_limiter_config.h"
#include "vmm/virtio/rate_limiter.h"

namespace mvm::vmm {

inline BucketLimits limits_of(const TokenBucketConfig& config) {
  return {config.size, config.one_time_burst.value_or(0), config.refill_time_ms};
}

inline RateLimits limits_of(const RateLimiterConfig& config) {
  RateLimits out;
  if (config.bandwidth) out.bandwidth = limits_of(*config.bandwidth);
  if (config.ops) out.ops = limits_of(*config.ops);
  return out;
}

}  // namespace mvm::vmm
