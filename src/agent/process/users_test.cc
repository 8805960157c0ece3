// SPDX-License-Identifier: Apache-2.0
#include "agent/process/users.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mvm::agent {
namespace {

constexpr const char* kPasswd =
    "root:x:0:0:root:/root:/bin/sh\nbroken "
    "line\nbad:x:notanumber:1::/:\nwww:x:33:44:web:/var/www:/bin/sh\n"
    "1000:x:7:8::/seven:\n";
constexpr const char* kGroup =
    "root:x:0:\nweb:x:44:\nstaff:x:50:a,www,b\nother:x:51:wwwx\naudio:x:29:www\n";

TEST(Users, EmptyIsRootWithItsHome) {
  const auto user = resolve_user("", kPasswd, kGroup).value();
  EXPECT_EQ(user.uid, 0U);
  EXPECT_EQ(user.home, "/root");
}

TEST(Users, NameBringsGroupHomeAndSupplementaryGroups) {
  const auto user = resolve_user("www", kPasswd, kGroup).value();
  EXPECT_EQ(user.uid, 33U);
  EXPECT_EQ(user.gid, 44U);
  EXPECT_EQ(user.home, "/var/www");
  EXPECT_THAT(user.groups, testing::ElementsAre(50U, 29U));
}

TEST(Users, KnownNumberIsTheSameAsItsName) {
  EXPECT_EQ(resolve_user("33", kPasswd, kGroup).value().name, "www");
}

TEST(Users, UnknownNumberIsTakenAsItIs) {
  const auto user = resolve_user("4242", kPasswd, kGroup).value();
  EXPECT_EQ(user.uid, 4242U);
  EXPECT_EQ(user.gid, 0U);
  EXPECT_EQ(user.home, "/");
}

TEST(Users, ANameOfDigitsWinsOverTheNumber) {
  EXPECT_EQ(resolve_user("1000", kPasswd, kGroup).value().uid, 7U);
}

TEST(Users, ExplicitGroupReplacesAllOthers) {
  const auto user = resolve_user("www:staff", kPasswd, kGroup).value();
  EXPECT_EQ(user.gid, 50U);
  EXPECT_TRUE(user.groups.empty());
  EXPECT_EQ(resolve_user("33:77", kPasswd, kGroup).value().gid, 77U);
}

TEST(Users, UnknownNamesAreErrors) {
  EXPECT_FALSE(resolve_user("nobody", kPasswd, kGroup));
  EXPECT_FALSE(resolve_user("www:nogroup", kPasswd, kGroup));
  EXPECT_FALSE(resolve_user("www:", kPasswd, kGroup));
  EXPECT_FALSE(resolve_user("bad", kPasswd, kGroup));
}

TEST(Users, TheNumberThatMeansUnchangedIsRefused) {
  EXPECT_FALSE(resolve_user("4294967295", kPasswd, kGroup));
}

TEST(Users, RootNeedsNoFiles) { EXPECT_EQ(resolve_user("", "", "").value().home, "/root"); }

}  // namespace
}  // namespace mvm::agent
