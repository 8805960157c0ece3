// SPDX-License-Identifier: Apache-2.0
#include "spec/words.h"

#include <gmock/gmock.h>

namespace mvm::spec {
namespace {

using testing::HasSubstr;

TEST(Name, MayBeMadeOfLettersDigitsAndSomeSigns) {
  for (const char* name : {"a", "0", "web-1.test_2", "ABC"}) EXPECT_TRUE(check_name(name)) << name;
  EXPECT_TRUE(check_name(std::string(63, 'n')));
}

TEST(Name, IsRefusedOtherwise) {
  for (const std::string& name :
       {std::string(), std::string("-a"), std::string(".."), std::string("a/b"), std::string("a b"),
        std::string("ä"), std::string("a,b"), std::string("a\nb"), std::string(64, 'n')}) {
    const auto checked = check_name(name);
    ASSERT_FALSE(checked.has_value()) << name;
    EXPECT_EQ(checked.error().code(), Errc::kInvalidArgument);
    EXPECT_THAT(checked.error().hint(), HasSubstr("63"));
  }
}

struct Forward {
  const char* text;
  const char* ip;
  int host;
  int guest;
  Protocol protocol;
};

class ForwardText : public testing::TestWithParam<Forward> {};

TEST_P(ForwardText, IsUnderstood) {
  const Forward& c = GetParam();
  const PortForward f = parse_forward(c.text).value();
  EXPECT_EQ(f.host_ip, c.ip);
  EXPECT_EQ(f.host_port, c.host);
  EXPECT_EQ(f.guest_port, c.guest);
  EXPECT_EQ(f.protocol, c.protocol);
}

INSTANTIATE_TEST_SUITE_P(
    Words, ForwardText,
    testing::Values(Forward{"8080:80", "127.0.0.1", 8080, 80, Protocol::kTcp},
                    Forward{"8080:80/tcp", "127.0.0.1", 8080, 80, Protocol::kTcp},
                    Forward{"5353:53/udp", "127.0.0.1", 5353, 53, Protocol::kUdp},
                    Forward{"0.0.0.0:1:65535", "0.0.0.0", 1, 65535, Protocol::kTcp}));

class BadForward : public testing::TestWithParam<const char*> {};

TEST_P(BadForward, IsRefusedAndQuoted) {
  const Error error = parse_forward(GetParam()).error();
  EXPECT_EQ(error.code(), Errc::kInvalidArgument);
  EXPECT_THAT(error.text(), HasSubstr("'" + std::string(GetParam()) + "'"));
}

INSTANTIATE_TEST_SUITE_P(Words, BadForward,
                         testing::Values("", "80", ":", "80:", ":80", "0:80", "80:0", "65536:80",
                                         "80:65536", "a:80", "80:b", "localhost:80:80", ":80:80",
                                         "80:80/sctp", "80:80/", "-1:80", "1:2:3:4",
                                         "127.0.0.1,x:80:80"));

TEST(Volume, HasNamePathAndSize) {
  const VolumeSpec given = parse_volume("data:/var/lib/data:10G").value();
  EXPECT_EQ(given.name, "data");
  EXPECT_EQ(given.path, "/var/lib/data");
  EXPECT_EQ(given.size, gibibytes(10));
  EXPECT_EQ(parse_volume("data:/srv").value().size, gibibytes(1));
}

TEST(Volume, OfADirectoryOfTheHostIsRefusedWithTheWayRound) {
  EXPECT_THAT(parse_volume("/srv:/srv").error().hint(), testing::HasSubstr("mvmctl cp"));
  EXPECT_EQ(parse_volume("data").error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(parse_volume("data:/srv:x").error().code(), Errc::kInvalidArgument);
}

TEST(Restart, KnowsItsPolicies) {
  EXPECT_FALSE(parse_restart("no").value().on_failure);
  EXPECT_TRUE(parse_restart("on-failure").value().on_failure);
  EXPECT_EQ(parse_restart("on-failure").value().max_restarts, 0U);
  EXPECT_EQ(parse_restart("on-failure:3").value().max_restarts, 3U);
}

TEST(Restart, RefusesEverythingElse) {
  for (const char* text : {"", "always", "on-failure:", "on-failure:0", "on-failure:-1",
                           "on-failure:x", "on-failure:3x", "on-failure:4294967296", "on-failures"})
    EXPECT_EQ(parse_restart(text).error().code(), Errc::kInvalidArgument) << text;
}

}  // namespace
}  // namespace mvm::spec
