// SPDX-License-Identifier: Apache-2.0
#include "core/result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <tuple>

namespace mvm {
namespace {

using testing::ElementsAre;

Result<int> half(int n) {
  if (n % 2 != 0) return Error(Errc::kInvalidArgument, std::to_string(n) + " is odd");
  return n / 2;
}

Result<> check_even(int n) {
  MVM_TRY(half(n));
  return {};
}

Result<int> quarter(int n) {
  return MVM_TRY_CTX(half(MVM_TRY_CTX(half(n), "first half")), "second half");
}

Result<int> sum_of_halves(int a, int b) { return MVM_TRY(half(a)) + MVM_TRY(half(b)); }

Result<std::unique_ptr<int>> boxed(int n) { return std::make_unique<int>(MVM_TRY(half(n))); }

Result<int> unboxed(int n) {
  const std::unique_ptr<int> box = MVM_TRY(boxed(n));
  return *box;
}

Result<int> outer(int n) { return MVM_TRY_CTX(quarter(n), "outer"); }

TEST(Try, UnwrapsTheValue) { EXPECT_EQ(quarter(8).value(), 2); }

TEST(Try, ReturnsTheErrorOfTheInnerOfTwo) {
  EXPECT_EQ(quarter(3).error().text(), "first half: 3 is odd");
}

TEST(Try, ReturnsTheErrorOfTheOuterOfTwo) {
  EXPECT_EQ(quarter(6).error().text(), "second half: 3 is odd");
}

TEST(Try, StandsTwiceInOneExpression) {
  EXPECT_EQ(sum_of_halves(4, 6).value(), 5);
  EXPECT_EQ(sum_of_halves(4, 7).error().text(), "7 is odd");
}

TEST(Try, WorksInFunctionsWithoutAValue) {
  EXPECT_TRUE(check_even(2).has_value());
  EXPECT_EQ(check_even(1).error().code(), Errc::kInvalidArgument);
}

TEST(Try, MovesWhatCannotBeCopied) {
  EXPECT_EQ(unboxed(10).value(), 5);
  EXPECT_EQ(unboxed(9).error().text(), "9 is odd");
}

TEST(Error, TellsItsContextFromTheOutsideIn) {
  const Error error = outer(3).error();
  EXPECT_EQ(error.text(), "outer: first half: 3 is odd");
  EXPECT_THAT(error.context(), ElementsAre("first half", "outer"));
  EXPECT_EQ(error.message(), "3 is odd");
}

TEST(Error, KeepsHintAndCodeApartFromItsText) {
  const Error error = Error(Errc::kIo, "no luck").with_hint("try again").with_code(Errc::kBusy);
  EXPECT_EQ(error.text(), "no luck");
  EXPECT_EQ(error.hint(), "try again");
  EXPECT_EQ(error.code(), Errc::kBusy);
}

TEST(Error, AppendsTheTextOfErrnoAndKeepsItsNumber) {
  const Error error = Error::from_errno("open /x", ENOSPC);
  EXPECT_EQ(error.text(), "open /x: No space left on device");
  EXPECT_EQ(error.errnum(), ENOSPC);
}

TEST(Error, TakesErrnoAtTheCall) {
  errno = EACCES;
  EXPECT_EQ(Error::from_errno("open /x").code(), Errc::kPermission);
}

class ErrnoMapping : public testing::TestWithParam<std::tuple<int, Errc>> {};

TEST_P(ErrnoMapping, GivesTheCode) {
  EXPECT_EQ(Error::from_errno("call", std::get<0>(GetParam())).code(), std::get<1>(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(
    Error, ErrnoMapping,
    testing::Values(std::tuple(ENOENT, Errc::kNotFound), std::tuple(ESRCH, Errc::kNotFound),
                    std::tuple(EEXIST, Errc::kAlreadyExists), std::tuple(EBUSY, Errc::kBusy),
                    std::tuple(EADDRINUSE, Errc::kBusy), std::tuple(ETXTBSY, Errc::kBusy),
                    std::tuple(EACCES, Errc::kPermission), std::tuple(EPERM, Errc::kPermission),
                    std::tuple(EROFS, Errc::kPermission), std::tuple(ENOSPC, Errc::kNoSpace),
                    std::tuple(EDQUOT, Errc::kNoSpace), std::tuple(ETIMEDOUT, Errc::kTimeout),
                    std::tuple(ENOSYS, Errc::kUnsupported),
                    std::tuple(EOPNOTSUPP, Errc::kUnsupported), std::tuple(EIO, Errc::kIo),
                    std::tuple(EPIPE, Errc::kIo)));

class ErrcNames : public testing::TestWithParam<std::tuple<Errc, std::string_view>> {};

TEST_P(ErrcNames, AreStable) {
  EXPECT_EQ(errc_name(std::get<0>(GetParam())), std::get<1>(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(
    Error, ErrcNames,
    testing::Values(std::tuple(Errc::kInvalidArgument, "invalid_argument"),
                    std::tuple(Errc::kNotFound, "not_found"),
                    std::tuple(Errc::kAlreadyExists, "already_exists"),
                    std::tuple(Errc::kBusy, "busy"), std::tuple(Errc::kPermission, "permission"),
                    std::tuple(Errc::kUnavailable, "unavailable"),
                    std::tuple(Errc::kUnsupported, "unsupported"),
                    std::tuple(Errc::kCorrupt, "corrupt"),
                    std::tuple(Errc::kGuestFault, "guest_fault"), std::tuple(Errc::kLimit, "limit"),
                    std::tuple(Errc::kNoSpace, "no_space"), std::tuple(Errc::kTimeout, "timeout"),
                    std::tuple(Errc::kCancelled, "cancelled"), std::tuple(Errc::kIo, "io")));

}  // namespace
}  // namespace mvm
