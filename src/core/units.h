// SPDX-License-Identifier: Apache-2.0
// Sizes, durations and deadlines with their unit in the type.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace mvm {

// A number of bytes.
struct Bytes {
  std::uint64_t count = 0;
  friend auto operator<=>(Bytes, Bytes) = default;
};

constexpr Bytes kibibytes(std::uint64_t n) { return Bytes{n << 10}; }
constexpr Bytes mebibytes(std::uint64_t n) { return Bytes{n << 20}; }
constexpr Bytes gibibytes(std::uint64_t n) { return Bytes{n << 30}; }

// "512M", "2GiB", "4096" → bytes. Suffixes K M G T (optionally followed by B or iB) are powers of
// 1024. Errors: kInvalidArgument naming the text; overflow is refused.
Result<Bytes> parse_size(std::string_view text);

// 1536 → "1.5K"; for people, at most one decimal.
std::string format_size(Bytes size);

using Millis = std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// The wall clock, for what is shown and kept. Units: since 1970, UTC.
std::chrono::nanoseconds unix_time();
std::int64_t unix_time_ms();

// "500ms", "30s", "5m", "2h", "1d" or a plain number of seconds → duration.
Result<Millis> parse_duration(std::string_view text);

// 90000 ms → "1m30s"; below a second "250ms".
std::string format_duration(Millis duration);

// A point in time by which something must have happened, with the name of what is awaited.
class Deadline {
 public:
  static Deadline after(Millis duration, std::string what) {
    return Deadline(Clock::now() + duration, duration, std::move(what));
  }
  // Never passes.
  static Deadline none() { return Deadline(Clock::time_point::max(), Millis::max(), ""); }

  bool passed() const { return is_finite() && Clock::now() >= at_; }
  bool is_finite() const { return at_ != Clock::time_point::max(); }
  // Time left, never negative. Units: ms, rounded up; -1 when there is no deadline (as poll(2)
  // wants it).
  int poll_timeout() const;
  // kTimeout: "<what> did not happen within 30s"
  Error error() const;

 private:
  Deadline(Clock::time_point at, Millis total, std::string what)
      : at_(at), total_(total), what_(std::move(what)) {}
  Clock::time_point at_;
  Millis total_;
  std::string what_;
};

}  // namespace mvm
