// SPDX-License-Identifier: Apache-2.0
#include "backend/docker/docker_plan.h"

#include <gmock/gmock.h>

#include "sys/testing_golden.h"

namespace mvm::backend::docker {
namespace {

using testing::HasSubstr;
using testing_golden::golden;

spec::VmSpec standard() {
  spec::VmSpec vm;
  vm.id = "0123456789abcdef";
  vm.name = vm.hostname = "web";
  vm.backend = "docker";
  vm.engine_program = "/libexec/mvm-docker";
  vm.image_path = "/data/images/a.erofs";
  vm.image_digest = "a0a1";
  vm.run_dir = "/run/mvm/x";
  vm.data_dir = "/data/vms/x";
  return vm;
}

struct Case {
  const char* name;
  spec::VmSpec vm;
};

std::vector<Case> cases() {
  std::vector<Case> out = {
      {"default", standard()}, {"forwards", standard()}, {"limits", standard()}};
  out[1].vm.network.forwards = {{"127.0.0.1", 8080, 80, spec::Protocol::kTcp},
                                {"127.0.0.1", 8081, 80, spec::Protocol::kTcp},
                                {"0.0.0.0", 5353, 53, spec::Protocol::kUdp}};
  out[2].vm.network.mode = spec::NetworkMode::kNone;
  out[2].vm.limits.vcpus = 4;
  out[2].vm.limits.memory = gibibytes(2);
  out[2].vm.limits.pids = 100;
  return out;
}

class DockerPlan : public testing::TestWithParam<Case> {};

TEST_P(DockerPlan, MatchesTheGoldenOne) {
  const LaunchPlan planned = plan(GetParam().vm).value();
  std::string text = "in " + planned.working_dir + "\n";
  for (const std::string& word : planned.argv) text += word + "\n";
  text += planned.files.at(0).second;
  EXPECT_EQ(text, golden(std::string("docker/") + GetParam().name + ".txt", text));
}

INSTANTIATE_TEST_SUITE_P(Golden, DockerPlan, testing::ValuesIn(cases()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(DockerPlanOf, WhatAContainerLacksIsRefused) {
  spec::VmSpec vm = standard();
  vm.volumes = {{"data", "/srv", "/data/volumes/data/disk.img"}};
  EXPECT_THAT(plan(vm).error().text(), HasSubstr("no volumes"));
  vm = standard();
  vm.restore_dir = "/data/vms/x/restore";
  EXPECT_THAT(plan(vm).error().text(), HasSubstr("no snapshots"));
  vm = standard();
  vm.sealed_by = std::string(64, 'a');
  EXPECT_THAT(plan(vm).error().text(), HasSubstr("cannot keep a seal"));
}

}  // namespace
}  // namespace mvm::backend::docker
