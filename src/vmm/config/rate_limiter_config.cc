// SPDX-License-Identifier: Apache-2.0
#include "vmm/config/rate_limiter_config.h"

#include "core/checked.h"

namespace mvm::vmm {
namespace {

constexpr std::uint64_t kMost = static_cast<std::uint64_t>(INT64_MAX);
constexpr std::uint64_t kNanosPerMilli = 1'000'000;

std::optional<TokenBucketConfig> updated_bucket(const std::optional<TokenBucketConfig>& now,
                                                const std::optional<TokenBucketConfig>& update) {
  if (!update) return now;
  if (!update->limits()) return std::nullopt;
  return update;
}

}  // namespace

RateLimiterConfig updated(const RateLimiterConfig& now, const RateLimiterConfig& update) {
  return {.bandwidth = updated_bucket(now.bandwidth, update.bandwidth),
          .ops = updated_bucket(now.ops, update.ops)};
}

Result<> validate(const TokenBucketConfig& config, std::string_view what) {
  const auto tokens = checked_add(config.size, config.one_time_burst.value_or(0));
  if (!tokens || *tokens > kMost)
    return Error(Errc::kInvalidArgument,
                 "The size and one_time_burst of " + std::string(what) + " are too large.");
  if (config.refill_time_ms > kMost / kNanosPerMilli)
    return Error(Errc::kInvalidArgument,
                 "The refill_time of " + std::string(what) + " is too large.");
  return {};
}

Result<> validate(const RateLimiterConfig& config, std::string_view what) {
  const std::string name(what);
  if (config.bandwidth) MVM_TRY(validate(*config.bandwidth, name + ".bandwidth"));
  if (config.ops) MVM_TRY(validate(*config.ops, name + ".ops"));
  return {};
}

}  // namespace mvm::vmm
