// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/rate_limiter.h"

#include <algorithm>

namespace mvm::vmm {
namespace {

using std::chrono::nanoseconds;
using Wide = unsigned __int128;

constexpr nanoseconds kLongest = std::chrono::hours(24 * 365);

// The time that `tokens` take to come back, and the rest of the division.
struct Cost {
  nanoseconds time;
  std::uint64_t rest;
};

Cost cost_of(std::uint64_t tokens, nanoseconds refill, std::uint64_t size, std::uint64_t rest) {
  const Wide total = Wide{tokens} * static_cast<std::uint64_t>(refill.count()) + rest;
  const Wide time = total / size;
  if (time >= static_cast<Wide>(kLongest.count())) return {kLongest, 0};
  return {nanoseconds(static_cast<std::int64_t>(time)), static_cast<std::uint64_t>(total % size)};
}

}  // namespace

TokenBucket::TokenBucket(const BucketLimits& limits) : limits_(limits) {
  if (limits.size == 0 || limits.refill_time_ms == 0) return;
  constexpr auto kMost = std::chrono::duration_cast<Millis>(kLongest).count();
  refill_ = Millis(std::min(limits.refill_time_ms, static_cast<std::uint64_t>(kMost)));
  burst_ = limits.one_time_burst;
}

nanoseconds TokenBucket::wait_for(std::uint64_t tokens, Clock::time_point now) const {
  if (unlimited() || tokens <= burst_) return nanoseconds(0);
  // What does not fit into the bucket needs a full one.
  const std::uint64_t needed = std::min(tokens - burst_, limits_.size);
  const Cost cost = cost_of(needed, refill_, limits_.size, full_at_ > now ? rest_ : 0);
  const Clock::time_point full_then = std::max(full_at_, now) + cost.time;
  return std::max(nanoseconds(full_then - refill_ - now), nanoseconds(0));
}

void TokenBucket::take(std::uint64_t tokens, Clock::time_point now) {
  if (unlimited()) return;
  const std::uint64_t free = std::min(tokens, burst_);
  burst_ -= free;
  if (full_at_ <= now) {
    full_at_ = now;
    rest_ = 0;
  }
  const Cost cost = cost_of(tokens - free, refill_, limits_.size, rest_);
  full_at_ = std::min(full_at_ + cost.time, now + kLongest);
  rest_ = cost.rest;
}

void TokenBucket::save(ByteWriter& out, Clock::time_point now) const {
  out.number(limits_.size).number(limits_.one_time_burst).number(limits_.refill_time_ms);
  out.number(burst_).number(rest_);
  out.number(full_at_ > now ? nanoseconds(full_at_ - now).count() : std::int64_t{0});
}

Result<TokenBucket> TokenBucket::restore(ByteReader& in, Clock::time_point now) {
  BucketLimits limits;
  limits.size = in.number<std::uint64_t>();
  limits.one_time_burst = in.number<std::uint64_t>();
  limits.refill_time_ms = in.number<std::uint64_t>();
  TokenBucket bucket(limits);
  const auto burst = in.number<std::uint64_t>();
  const auto rest = in.number<std::uint64_t>();
  const auto missing = in.number<std::int64_t>();
  if (!in.ok() || burst > limits.one_time_burst || missing < 0 || missing > kLongest.count() ||
      (rest != 0 && rest >= limits.size))
    return Error(Errc::kCorrupt, "rate limiter: its saved state is not one");
  bucket.burst_ = burst;
  bucket.rest_ = rest;
  bucket.full_at_ = now + nanoseconds(missing);
  return bucket;
}

void RateLimiter::update(const RateLimits& limits) {
  if (limits.bandwidth) bandwidth_ = TokenBucket(*limits.bandwidth);
  if (limits.ops) ops_ = TokenBucket(*limits.ops);
}

RateLimits RateLimiter::limits() const {
  RateLimits out;
  if (!bandwidth_.unlimited()) out.bandwidth = bandwidth_.limits();
  if (!ops_.unlimited()) out.ops = ops_.limits();
  return out;
}

Millis RateLimiter::consume(std::uint64_t bytes, std::uint64_t ops, Clock::time_point now) {
  const nanoseconds wait = std::max(bandwidth_.wait_for(bytes, now), ops_.wait_for(ops, now));
  if (wait.count() > 0) return std::chrono::ceil<Millis>(wait);
  bandwidth_.take(bytes, now);
  ops_.take(ops, now);
  return Millis(0);
}

void RateLimiter::save(ByteWriter& out, Clock::time_point now) const {
  bandwidth_.save(out, now);
  ops_.save(out, now);
}

Result<> RateLimiter::restore(ByteReader& in, Clock::time_point now) {
  const TokenBucket bandwidth = MVM_TRY(TokenBucket::restore(in, now));
  ops_ = MVM_TRY(TokenBucket::restore(in, now));
  bandwidth_ = bandwidth;
  return {};
}

}  // namespace mvm::vmm
