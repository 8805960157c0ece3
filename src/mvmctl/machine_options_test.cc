// SPDX-License-Identifier: Apache-2.0
#include "mvmctl/machine_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mvm::cli {
namespace {

using testing::HasSubstr;

struct Forward {
  const char* text;
  const char* ip;
  int host;
  int guest;
  spec::Protocol protocol;
};

class ForwardText : public testing::TestWithParam<Forward> {};

TEST_P(ForwardText, IsUnderstood) {
  const Forward& c = GetParam();
  const spec::PortForward f = parse_forward(c.text).value();
  EXPECT_EQ(f.host_ip, c.ip);
  EXPECT_EQ(f.host_port, c.host);
  EXPECT_EQ(f.guest_port, c.guest);
  EXPECT_EQ(f.protocol, c.protocol);
}

INSTANTIATE_TEST_SUITE_P(
    Options, ForwardText,
    testing::Values(Forward{"8080:80", "127.0.0.1", 8080, 80, spec::Protocol::kTcp},
                    Forward{"8080:80/tcp", "127.0.0.1", 8080, 80, spec::Protocol::kTcp},
                    Forward{"5353:53/udp", "127.0.0.1", 5353, 53, spec::Protocol::kUdp},
                    Forward{"0.0.0.0:1:65535", "0.0.0.0", 1, 65535, spec::Protocol::kTcp}));

class BadForward : public testing::TestWithParam<const char*> {};

TEST_P(BadForward, IsRefusedAndQuoted) {
  const Error error = parse_forward(GetParam()).error();
  EXPECT_EQ(error.code(), Errc::kInvalidArgument);
  EXPECT_THAT(error.text(), HasSubstr("'" + std::string(GetParam()) + "'"));
}

INSTANTIATE_TEST_SUITE_P(Options, BadForward,
                         testing::Values("", "80", ":", "80:", ":80", "0:80", "80:0", "65536:80",
                                         "80:65536", "a:80", "80:b", "localhost:80:80", ":80:80",
                                         "80:80/sctp", "80:80/", "-1:80", "1:2:3:4",
                                         "127.0.0.1,x:80:80"));

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

workflow::Config config() {
  return workflow::Config::parse(
             "image = \"debian:bookworm\"\nmemory = \"1G\"\ncpus = 2\nnetwork = \"none\"\ndisk = "
             "\"2G\"\n",
             "config.toml")
      .value();
}

TEST(ToRequest, TakesTheStandardWithoutAnythingElse) {
  const auto request = to_request({}, {}).value();
  EXPECT_EQ(request.image.source, "busybox");
  EXPECT_EQ(request.backend, "auto");
  EXPECT_EQ(request.least_isolation, spec::Isolation::kEmulated);
  EXPECT_EQ(request.limits.memory, mebibytes(512));
  EXPECT_EQ(request.limits.vcpus, 1U);
  EXPECT_EQ(request.disk_size, gibibytes(8));
  EXPECT_EQ(request.network.mode, spec::NetworkMode::kUser);
}

TEST(ToRequest, PrefersTheConfigurationToTheStandard) {
  const auto request = to_request({}, config()).value();
  EXPECT_EQ(request.image.source, "debian:bookworm");
  EXPECT_EQ(request.limits.memory, gibibytes(1));
  EXPECT_EQ(request.limits.vcpus, 2U);
  EXPECT_EQ(request.disk_size, gibibytes(2));
  EXPECT_EQ(request.network.mode, spec::NetworkMode::kNone);
}

TEST(ToRequest, PrefersTheCommandLineToTheConfiguration) {
  MachineOptions options;
  options.image = "dir:/x";
  options.memory = mebibytes(256);
  options.cpus = 4;
  options.disk = gibibytes(1);
  options.network = "user";
  options.isolation = "microvm";
  options.publish = {"8080:80"};
  const auto request = to_request(options, config()).value();
  EXPECT_EQ(request.image.source, "dir:/x");
  EXPECT_EQ(request.limits.memory, mebibytes(256));
  EXPECT_EQ(request.limits.vcpus, 4U);
  EXPECT_EQ(request.disk_size, gibibytes(1));
  EXPECT_EQ(request.network.mode, spec::NetworkMode::kUser);
  EXPECT_EQ(request.least_isolation, spec::Isolation::kMicrovm);
  EXPECT_EQ(request.network.forwards.size(), 1U);
}

TEST(ToRequest, RefusesForwardsWithoutANetwork) {
  MachineOptions options;
  options.publish = {"8080:80"};
  EXPECT_THAT(to_request(options, config()).error().text(), HasSubstr("--network none"));
}

TEST(ToRequest, RefusesWordsThatItDoesNotKnow) {
  MachineOptions options;
  options.arch = "riscv64";
  EXPECT_FALSE(to_request(options, {}).has_value());
  options = {};
  options.restart = "always";
  EXPECT_FALSE(to_request(options, {}).has_value());
}

}  // namespace
}  // namespace mvm::cli
