// SPDX-License-Identifier: Apache-2.0
#include "netd/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mvm::netd {
namespace {

using ::testing::HasSubstr;

Result<Options> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "mvm-netd");
  return parse_options(arguments);
}

TEST(Options, AreThoseOfQemuUserNetworkUnlessToldOtherwise) {
  const auto options = parse({"--fd", "7"});
  ASSERT_TRUE(options) << options.error().text();
  EXPECT_EQ(options->fd, 7);
  EXPECT_EQ(options->ready_fd, -1);
  EXPECT_TRUE(options->dns);
  EXPECT_FALSE(options->restricted);
  EXPECT_EQ(options->mtu, 1500U);
  EXPECT_TRUE(options->forwards.empty());
}

TEST(Options, TakeAnyNumberOfForwards) {
  const auto options = parse({"--fd", "3", "--forward", "tcp:127.0.0.1:8080:80", "--forward",
                              "udp:0.0.0.0:53:5353", "--no-dns", "--restrict", "--mtu", "65520"});
  ASSERT_TRUE(options) << options.error().text();
  EXPECT_EQ(options->forwards,
            (std::vector<Forward>{{false, "127.0.0.1", 8080, 80}, {true, "0.0.0.0", 53, 5353}}));
  EXPECT_FALSE(options->dns);
  EXPECT_TRUE(options->restricted);
  EXPECT_EQ(options->mtu, 65'520U);
}

TEST(Options, RefuseAMissingDescriptorAndUnknownWords) {
  EXPECT_THAT(parse({}).error().text(), HasSubstr("--fd"));
  EXPECT_THAT(parse({"--fd", "-4"}).error().text(), HasSubstr("--fd"));
  EXPECT_THAT(parse({"--fd", "3", "--bridge", "br0"}).error().text(), HasSubstr("--bridge"));
}

TEST(Options, TakeATapDeviceAndItsOwner) {
  const auto options = parse({"--fd", "3", "--tap", "mvm0", "--tap-owner", "1000"});
  ASSERT_TRUE(options) << options.error().text();
  EXPECT_EQ(options->tap, "mvm0");
  EXPECT_EQ(options->tap_owner, 1000U);
  EXPECT_THAT(parse({"--fd", "3", "--tap-owner", "1000"}).error().text(), HasSubstr("--tap"));
}

TEST(Options, RefuseAnMtuThatNoFrameCanHave) {
  EXPECT_THAT(parse({"--fd", "3", "--mtu", "65521"}).error().text(), HasSubstr("65521"));
  EXPECT_THAT(parse({"--fd", "3", "--mtu", "100"}).error().text(), HasSubstr("100"));
}

class BrokenForward : public ::testing::TestWithParam<const char*> {};

TEST_P(BrokenForward, IsRefusedAndQuoted) {
  const auto forward = parse_forward(GetParam());
  ASSERT_FALSE(forward);
  EXPECT_EQ(forward.error().code(), Errc::kInvalidArgument);
  EXPECT_THAT(forward.error().text(), HasSubstr(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Forwards, BrokenForward,
                         ::testing::Values("", "tcp", "tcp:127.0.0.1:80", "icmp:127.0.0.1:80:80",
                                           "tcp:localhost:80:80", "tcp:[::1]:80:80",
                                           "tcp:127.0.0.1:0:80", "tcp:127.0.0.1:80:65536",
                                           "tcp:127.0.0.1:80:80:80", "tcp:127.0.0.1:8x:80",
                                           "tcp:127.0.0.1:-1:80"));

}  // namespace
}  // namespace mvm::netd
