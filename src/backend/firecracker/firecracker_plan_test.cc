// SPDX-License-Identifier: Apache-2.0
#include "backend/firecracker/firecracker_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "sys/testing_golden.h"

namespace mvm::backend::firecracker {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing_golden::golden;

spec::VmSpec standard() {
  spec::VmSpec vm;
  vm.id = "0123456789abcdef";
  vm.name = "web";
  vm.backend = "mvm-vmm";
  vm.accelerator = "kvm";
  vm.engine_program = "/libexec/mvm-vmm";
  vm.network_program = "/libexec/mvm-netd";
  vm.kernel_path = "/cache/vmlinux";
  vm.initramfs_path = "/cache/initramfs.cpio";
  vm.image_path = "/data/images/a.erofs";
  vm.scratch_path = "/data/vms/x/scratch.img";
  vm.hostname = "web";
  vm.run_dir = "/run/mvm/x";
  vm.data_dir = "/data/vms/x";
  return vm;
}

std::string text(const LaunchPlan& plan) {
  std::string out = "in " + plan.working_dir + "\n";
  for (const std::string& argument : plan.argv) out += argument + "\n";
  out += "agent socket " + plan.agent_socket;
  out += plan.network_namespace ? "\nnetwork in a namespace\n" : "\nnetwork\n";
  for (const std::string& argument : plan.network_argv) out += argument + "\n";
  for (const std::string& path : plan.directories) out += "directory " + path + "\n";
  for (const std::string& path : plan.written) out += "written " + path + "\n";
  for (const std::string& path : plan.read) out += "read " + path + "\n";
  for (const auto& [file, name] : plan.links) out += "link " + name + " to " + file + "\n";
  out += "user " + std::to_string(plan.user) + (plan.jailed ? ", jailed" : "") +
         (plan.contained ? ", contained\n" : "\n");
  for (const auto& [name, content] : plan.files) out += "file " + name + "\n" + content;
  return out;
}

struct Case {
  const char* name;
  spec::VmSpec vm;
  Monitor monitor = Monitor::kMvmVmm;
};

spec::VmSpec of_firecracker() {
  spec::VmSpec vm = standard();
  vm.backend = "firecracker";
  vm.engine_program = "/opt/firecracker";
  vm.jailer_program = "/opt/jailer";
  return vm;
}

std::vector<Case> cases() {
  std::vector<Case> out = {{"default", standard()},
                           {"thrown-away", standard()},
                           {"forwards", standard()},
                           {"no-network", standard()},
                           {"four-vcpus", standard()},
                           {"quotes", standard()},
                           {"restored", standard()},
                           {"as-root", standard()},
                           {"no-jail", standard()},
                           {"of-firecracker", of_firecracker(), Monitor::kFirecracker},
                           {"of-firecracker-as-root", of_firecracker(), Monitor::kFirecracker},
                           {"volumes", standard()}};
  out[1].vm.remove_when_done = true;
  out[2].vm.network.forwards = {{"127.0.0.1", 8080, 80, spec::Protocol::kTcp},
                                {"0.0.0.0", 5353, 53, spec::Protocol::kUdp}};
  out[3].vm.network.mode = spec::NetworkMode::kNone;
  out[4].vm.limits.vcpus = 4;
  out[4].vm.limits.memory = gibibytes(2);
  out[5].vm.image_path = "/data/with \"quotes\"/a.erofs";
  out[5].vm.scratch_path = "";
  out[6].vm.restore_dir = "/data/vms/x/restore";
  out[7].vm.jail_user = 0x7000'0001;
  out[8].vm.jail = false;
  out[10].vm.jail_user = 0x7000'0001;
  out[10].vm.network.forwards = out[2].vm.network.forwards;
  out[11].vm.volumes = {{"data", "/srv", "/data/volumes/data/disk.img"}};
  return out;
}

class FirecrackerPlan : public testing::TestWithParam<Case> {};

TEST_P(FirecrackerPlan, MatchesTheGoldenOne) {
  const std::string planned = text(plan(GetParam().vm, GetParam().monitor).value());
  EXPECT_EQ(planned, golden(std::string("firecracker/") + GetParam().name + ".txt", planned));
}

INSTANTIATE_TEST_SUITE_P(Golden, FirecrackerPlan, testing::ValuesIn(cases()), [](const auto& test) {
  std::string name = test.param.name;
  std::erase(name, '-');
  return name;
});

// The jailer of root is asked of the machine's own directory, and of nothing else that is not there
// already when it starts.
TEST(FirecrackerPlanOf, NamesInFirecrackersJailerAreThoseOfLinks) {
  spec::VmSpec vm = of_firecracker();
  vm.jail_user = 0x7000'0001;
  const LaunchPlan planned = plan(vm, Monitor::kFirecracker).value();
  EXPECT_EQ(planned.working_dir, "/data/vms/x/jail/firecracker/0123456789abcdef/root");
  const std::string& config = planned.files.front().second;
  EXPECT_THAT(config, Not(HasSubstr("/data/")));
  EXPECT_THAT(config, Not(HasSubstr("/cache/")));
  for (const auto& [file, name] : planned.links) {
    EXPECT_THAT(config, HasSubstr("\"" + name + "\""));
    EXPECT_TRUE(std::ranges::count(planned.read, file) + std::ranges::count(planned.written, file));
  }
}

TEST(FirecrackerPlanOf, FirecrackerItselfIsNotInAJailWithoutRoot) {
  const LaunchPlan planned = plan(of_firecracker(), Monitor::kFirecracker).value();
  EXPECT_EQ(planned.argv.front(), "/opt/firecracker");
  EXPECT_FALSE(planned.jailed || planned.contained);
}

TEST(FirecrackerPlanOf, FirecrackerItselfHasNoVolumes) {
  spec::VmSpec vm = of_firecracker();
  vm.volumes = {{"data", "/srv", "/data/volumes/data/disk.img"}};
  EXPECT_EQ(plan(vm, Monitor::kFirecracker).error().code(), Errc::kUnsupported);
}

TEST(FirecrackerPlanOf, FirecrackerItselfRestoresNoMachine) {
  spec::VmSpec vm = standard();
  vm.network.mode = spec::NetworkMode::kNone;
  vm.restore_dir = "/data/vms/x/restore";
  EXPECT_EQ(plan(vm, Monitor::kFirecracker).error().code(), Errc::kUnsupported);
}

TEST(FirecrackerPlanOf, RefusesWhatNoMonitorHas) {
  spec::VmSpec vm = standard();
  vm.limits.vcpus = 33;
  EXPECT_EQ(plan(vm, Monitor::kMvmVmm).error().code(), Errc::kUnsupported);
  vm = standard();
  vm.arch = spec::Arch::kAarch64;
  EXPECT_EQ(plan(vm, Monitor::kMvmVmm).error().code(), Errc::kUnsupported);
}

TEST(FirecrackerPlanOf, TheJailHidesTheSupervisorsSocketAndLock) {
  const LaunchPlan planned = plan(standard(), Monitor::kMvmVmm).value();
  EXPECT_TRUE(planned.jailed);
  EXPECT_THAT(planned.argv, testing::Contains("/run/mvm/x/vmm:rw"));
  EXPECT_THAT(planned.argv, Not(testing::Contains(testing::StartsWith("/run/mvm/x:"))));
  EXPECT_THAT(planned.argv, Not(testing::Contains(testing::StartsWith("/data/vms/x:"))));
}

TEST(FirecrackerPlanOf, RefusesWhatCannotBeWrittenOnTheJailsCommandLine) {
  spec::VmSpec vm = standard();
  vm.image_path = "/data/a:b.erofs";
  const Error error = plan(vm, Monitor::kMvmVmm).error();
  EXPECT_THAT(error.text(), HasSubstr("/data/a:b.erofs"));
  EXPECT_THAT(error.hint(), HasSubstr("jail off"));
  vm.jail = false;
  EXPECT_TRUE(plan(vm, Monitor::kMvmVmm));
}

TEST(FirecrackerCmdline, TellsTheAgentWhereTheHostListens) {
  EXPECT_THAT(kernel_cmdline(standard(), Monitor::kMvmVmm),
              HasSubstr(" mvm.vsock=5252 mvm.scratch=1"));
  EXPECT_THAT(kernel_cmdline(standard(), Monitor::kMvmVmm), Not(HasSubstr("mitigations")));
}

TEST(FirecrackerCmdline, FirecrackersGuestResetsByTheKeyboardAndHasNoSerialsOfOurs) {
  const std::string line = kernel_cmdline(of_firecracker(), Monitor::kFirecracker);
  EXPECT_THAT(line, HasSubstr(" reboot=k "));
  EXPECT_THAT(line, HasSubstr(" mvm.disks=access "));
}

TEST(FirecrackerCmdline, EndsWithWhatTheUserAdds) {
  spec::VmSpec vm = standard();
  vm.cmdline_extra = "quiet=no panic=5";
  EXPECT_THAT(kernel_cmdline(vm, Monitor::kMvmVmm), testing::EndsWith(" quiet=no panic=5"));
}

}  // namespace
}  // namespace mvm::backend::firecracker
