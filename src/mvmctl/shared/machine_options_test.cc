// SPDX-License-Identifier: Apache-2.0
#include "mvmctl/shared/machine_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mvm::cli {
namespace {

using testing::HasSubstr;

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
  EXPECT_EQ(request.least_isolation, std::nullopt);
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
