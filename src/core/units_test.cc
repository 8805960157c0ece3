// SPDX-License-Identifier: Apache-2.0
#include "core/units.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <tuple>

namespace mvm {
namespace {

using testing::AllOf;
using testing::Ge;
using testing::HasSubstr;
using testing::Le;

class SizeText : public testing::TestWithParam<std::tuple<const char*, Bytes>> {};

TEST_P(SizeText, IsUnderstood) {
  EXPECT_EQ(parse_size(std::get<0>(GetParam())).value(), std::get<1>(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(
    Size, SizeText,
    testing::Values(std::tuple("0", Bytes{0}), std::tuple("4096", Bytes{4096}),
                    std::tuple("10B", Bytes{10}), std::tuple("1K", kibibytes(1)),
                    std::tuple("1k", kibibytes(1)), std::tuple("512M", mebibytes(512)),
                    std::tuple("512MB", mebibytes(512)), std::tuple("512MiB", mebibytes(512)),
                    std::tuple("2g", gibibytes(2)), std::tuple("2GiB", gibibytes(2)),
                    std::tuple("1T", gibibytes(1024)),
                    std::tuple("16777215T", Bytes{16777215ULL << 40}),
                    std::tuple("18446744073709551615", Bytes{~0ULL})));

class BadSize : public testing::TestWithParam<const char*> {};

TEST_P(BadSize, IsRefusedAndQuoted) {
  const Error error = parse_size(GetParam()).error();
  EXPECT_EQ(error.code(), Errc::kInvalidArgument);
  EXPECT_THAT(error.text(), HasSubstr("'" + std::string(GetParam()) + "' is not a size"));
  EXPECT_THAT(error.hint(), HasSubstr("512M"));
}

INSTANTIATE_TEST_SUITE_P(Size, BadSize,
                         testing::Values("", "M", "-1", "+1", " 1", "1 M", "1.5G", "1X", "1MiBs",
                                         "1MM", "0x10", "16777216T", "18446744073709551616",
                                         "99999999999999999999999999"));

class SizeFormat : public testing::TestWithParam<std::tuple<std::uint64_t, const char*>> {};

TEST_P(SizeFormat, IsShort) {
  EXPECT_EQ(format_size(Bytes{std::get<0>(GetParam())}), std::get<1>(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Size, SizeFormat,
                         testing::Values(std::tuple(0, "0"), std::tuple(1023, "1023"),
                                         std::tuple(1024, "1K"), std::tuple(1536, "1.5K"),
                                         std::tuple(512 << 20, "512M"),
                                         std::tuple((512 << 20) + (512 << 10), "512M"),
                                         std::tuple(3ULL << 29, "1.5G"),
                                         std::tuple(~0ULL, "15.9E")));

class DurationText : public testing::TestWithParam<std::tuple<const char*, std::int64_t>> {};

TEST_P(DurationText, IsUnderstood) {
  EXPECT_EQ(parse_duration(std::get<0>(GetParam())).value().count(), std::get<1>(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Duration, DurationText,
                         testing::Values(std::tuple("0", 0), std::tuple("7", 7000),
                                         std::tuple("500ms", 500), std::tuple("30s", 30'000),
                                         std::tuple("5m", 300'000), std::tuple("2h", 7'200'000),
                                         std::tuple("1d", 86'400'000),
                                         std::tuple("36525d", 3'155'760'000'000)));

class BadDuration : public testing::TestWithParam<const char*> {};

TEST_P(BadDuration, IsRefusedAndQuoted) {
  const Error error = parse_duration(GetParam()).error();
  EXPECT_EQ(error.code(), Errc::kInvalidArgument);
  EXPECT_THAT(error.text(), HasSubstr("'" + std::string(GetParam()) + "' is not a duration"));
}

INSTANTIATE_TEST_SUITE_P(Duration, BadDuration,
                         testing::Values("", "s", "-1s", "1.5h", "1w", "1 s", "1h30m", "36526d",
                                         "18446744073709551615d", "99999999999999999999"));

class DurationFormat : public testing::TestWithParam<std::tuple<std::int64_t, const char*>> {};

TEST_P(DurationFormat, IsShort) {
  EXPECT_EQ(format_duration(Millis(std::get<0>(GetParam()))), std::get<1>(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Duration, DurationFormat,
                         testing::Values(std::tuple(0, "0ms"), std::tuple(250, "250ms"),
                                         std::tuple(1000, "1s"), std::tuple(1999, "1s"),
                                         std::tuple(90'000, "1m30s"), std::tuple(3'600'000, "1h"),
                                         std::tuple(90'061'000, "1d1h1m1s")));

TEST(Deadline, ThatIsNoneNeverPassesAndPollsForEver) {
  const Deadline none = Deadline::none();
  EXPECT_FALSE(none.passed());
  EXPECT_FALSE(none.is_finite());
  EXPECT_EQ(none.poll_timeout(), -1);
}

TEST(Deadline, HasPassedAtOnceWhenItsDurationIsZero) {
  const Deadline now = Deadline::after(Millis(0), "this");
  EXPECT_TRUE(now.passed());
  EXPECT_EQ(now.poll_timeout(), 0);
}

TEST(Deadline, RoundsTheTimeLeftUpSoThatPollDoesNotSpin) {
  const Deadline later = Deadline::after(Millis(60'000), "this");
  EXPECT_THAT(later.poll_timeout(), AllOf(Ge(59'000), Le(60'000)));
  EXPECT_FALSE(later.passed());
}

TEST(Deadline, ClampsWhatPollCannotHold) {
  const Deadline far = Deadline::after(Millis(3'155'760'000'000), "this");
  EXPECT_EQ(far.poll_timeout(), std::numeric_limits<int>::max());
}

TEST(Deadline, NamesWhatWasAwaitedAndForHowLong) {
  const Error error = Deadline::after(Millis(30'000), "the guest's answer").error();
  EXPECT_EQ(error.code(), Errc::kTimeout);
  EXPECT_EQ(error.text(), "the guest's answer did not happen within 30s");
}

}  // namespace
}  // namespace mvm
