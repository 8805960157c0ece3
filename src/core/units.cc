// SPDX-License-Identifier: Apache-2.0
#include "core/units.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "core/checked.h"

namespace mvm {
namespace {

struct Split {
  std::uint64_t number;
  std::string_view suffix;
};

std::optional<Split> split_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec != std::errc() || end == text.data()) return std::nullopt;
  return Split{number, text.substr(static_cast<std::size_t>(end - text.data()))};
}

Error bad(std::string_view what, std::string_view text, std::string_view examples) {
  return Error(Errc::kInvalidArgument, "'" + std::string(text) + "' is not a " + std::string(what))
      .with_hint("write " + std::string(examples));
}

std::optional<unsigned> size_shift(std::string_view suffix) {
  if (suffix.empty() || suffix == "B") return 0;
  const std::string_view tail = suffix.substr(1);
  if (!tail.empty() && tail != "B" && tail != "iB" && tail != "b" && tail != "ib")
    return std::nullopt;
  switch (suffix.front()) {
    case 'k':
    case 'K':
      return 10;
    case 'm':
    case 'M':
      return 20;
    case 'g':
    case 'G':
      return 30;
    case 't':
    case 'T':
      return 40;
    default:
      return std::nullopt;
  }
}

}  // namespace

Result<Bytes> parse_size(std::string_view text) {
  constexpr std::string_view kExamples = "a number with K, M, G or T, as in 512M";
  const auto split = split_number(text);
  if (!split) return bad("size", text, kExamples);
  const auto shift = size_shift(split->suffix);
  if (!shift) return bad("size", text, kExamples);
  const auto count = checked_mul(split->number, std::uint64_t{1} << *shift);
  if (!count) return bad("size", text, kExamples);
  return Bytes{*count};
}

std::string format_size(Bytes size) {
  constexpr std::string_view kSuffix = "BKMGTPE";
  std::uint64_t scaled = size.count;
  std::uint64_t tenths = 0;
  std::size_t step = 0;
  while (scaled >= 1024 && step + 1 < kSuffix.size()) {
    tenths = (scaled % 1024) * 10 / 1024;
    scaled /= 1024;
    ++step;
  }
  std::string out = std::to_string(scaled);
  if (tenths != 0 && scaled < 100) out += "." + std::to_string(tenths);
  if (step > 0) out += kSuffix[step];
  return out;
}

std::chrono::nanoseconds unix_time() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::system_clock::now().time_since_epoch());
}

std::int64_t unix_time_ms() { return std::chrono::duration_cast<Millis>(unix_time()).count(); }

Result<Millis> parse_duration(std::string_view text) {
  constexpr std::string_view kExamples = "a number with ms, s, m, h or d, as in 30s";
  const auto split = split_number(text);
  if (!split) return bad("duration", text, kExamples);
  std::uint64_t unit = 0;
  if (split->suffix == "ms")
    unit = 1;
  else if (split->suffix == "s" || split->suffix.empty())
    unit = 1000;
  else if (split->suffix == "m")
    unit = 60'000;
  else if (split->suffix == "h")
    unit = 3'600'000;
  else if (split->suffix == "d")
    unit = 86'400'000;
  else
    return bad("duration", text, kExamples);
  const auto millis = checked_mul(split->number, unit);
  // A hundred years: far above any use, far below what overflows a time point.
  if (!millis || *millis > 3'155'760'000'000ULL) return bad("duration", text, kExamples);
  return Millis(static_cast<std::int64_t>(*millis));
}

std::string format_duration(Millis duration) {
  const std::int64_t ms = duration.count();
  if (ms < 1000) return std::to_string(ms) + "ms";
  std::int64_t seconds = ms / 1000;
  std::string out;
  if (seconds >= 86400) out += std::to_string(seconds / 86400) + "d", seconds %= 86400;
  if (seconds >= 3600) out += std::to_string(seconds / 3600) + "h", seconds %= 3600;
  if (seconds >= 60) out += std::to_string(seconds / 60) + "m", seconds %= 60;
  if (seconds > 0) out += std::to_string(seconds) + "s";
  return out;
}

int Deadline::poll_timeout() const {
  if (!is_finite()) return -1;
  const auto left = std::chrono::ceil<Millis>(at_ - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, std::numeric_limits<int>::max()));
}

Error Deadline::error() const {
  return Error(Errc::kTimeout, what_ + " did not happen within " + format_duration(total_));
}

}  // namespace mvm
