// SPDX-License-Identifier: Apache-2.0
#include "backend/qemu/qemu_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/qemu/qemu.h"
#include "sys/testing_golden.h"

namespace mvm::backend::qemu {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing_golden::golden;

spec::VmSpec standard() {
  spec::VmSpec vm;
  vm.id = "0123456789abcdef";
  vm.name = "web";
  vm.backend = "qemu";
  vm.accelerator = "tcg";
  vm.tsc_khz = 2'400'000;
  vm.engine_program = "/usr/bin/qemu-system-x86_64";
  vm.kernel_path = "/cache/vmlinux";
  vm.initramfs_path = "/cache/initramfs.cpio";
  vm.image_path = "/data/images/a.erofs";
  vm.hostname = "web";
  return vm;
}

spec::VmSpec with_scratch() {
  spec::VmSpec vm = standard();
  vm.scratch_path = "/data/vms/x/scratch.img";
  return vm;
}

// One argument a line.
std::string lines(const LaunchPlan& plan) {
  std::string out;
  for (const std::string& argument : plan.argv) out += argument + "\n";
  return out;
}

struct Case {
  const char* name;
  spec::VmSpec vm;
};

std::vector<Case> cases() {
  std::vector<Case> out = {{"default", standard()},
                           {"scratch", with_scratch()},
                           {"scratch-thrown-away", with_scratch()},
                           {"no-network", standard()},
                           {"forwards", standard()},
                           {"kvm", standard()},
                           {"commas", with_scratch()},
                           {"cmdline-extra", standard()},
                           {"four-vcpus", standard()},
                           {"unknown-tsc", standard()},
                           {"volumes", with_scratch()}};
  out[2].vm.remove_when_done = true;
  out[3].vm.network.mode = spec::NetworkMode::kNone;
  out[4].vm.network.forwards = {{"127.0.0.1", 8080, 80, spec::Protocol::kTcp},
                                {"0.0.0.0", 5353, 53, spec::Protocol::kUdp}};
  out[5].vm.accelerator = "kvm";
  out[6].vm.name = "a,b=c";
  out[6].vm.image_path = "/data/with,comma \"quoted\"/a.erofs";
  out[6].vm.scratch_path = "/data/with,comma/scratch.img";
  out[7].vm.cmdline_extra = "loglevel=7 mem=100M";
  out[8].vm.limits.vcpus = 4;
  out[8].vm.limits.memory = gibibytes(2);
  out[9].vm.tsc_khz = 0;
  out[10].vm.remove_when_done = true;
  out[10].vm.volumes = {{"data", "/srv", "/data/volumes/data/disk.img"},
                        {"log", "/var/log", "/data/volumes/log/disk.img"}};
  return out;
}

class QemuArgv : public testing::TestWithParam<Case> {};

TEST_P(QemuArgv, MatchesTheGoldenCommandLine) {
  const std::string text = lines(plan(GetParam().vm).value());
  EXPECT_EQ(text, golden(std::string("qemu/") + GetParam().name + ".txt", text));
}

INSTANTIATE_TEST_SUITE_P(Golden, QemuArgv, testing::ValuesIn(cases()), [](const auto& test) {
  std::string name = test.param.name;
  std::erase(name, '-');
  return name;
});

TEST(QemuPlan, TellsTheGuestItsAddressesOnlyWithANetwork) {
  const LaunchPlan with = plan(standard()).value();
  ASSERT_TRUE(with.network.has_value());
  EXPECT_EQ(with.network->address, "10.0.2.15");
  EXPECT_EQ(with.network->dns, "10.0.2.3");
  spec::VmSpec vm = standard();
  vm.network.mode = spec::NetworkMode::kNone;
  const LaunchPlan without = plan(vm).value();
  EXPECT_FALSE(without.network.has_value());
  EXPECT_THAT(without.argv, Not(Contains("-netdev")));
}

TEST(QemuPlan, AlwaysHasControlAndConsole) {
  const LaunchPlan out = plan(standard()).value();
  EXPECT_TRUE(out.has_control);
  EXPECT_TRUE(out.has_console);
  EXPECT_EQ(out.argv.front(), "/usr/bin/qemu-system-x86_64");
}

TEST(QemuPlan, RunsEveryEngineInItsSandbox) {
  EXPECT_THAT(plan(standard()).value().argv, Contains("-sandbox"));
}

TEST(QemuPlan, OpensTheImageReadOnly) {
  EXPECT_THAT(lines(plan(with_scratch()).value()),
              HasSubstr(R"("filename":"/data/images/a.erofs","read-only":true)"));
}

TEST(QemuPlan, RefusesAnArchitectureItHasNoMachineFor) {
  spec::VmSpec vm = standard();
  vm.arch = spec::Arch::kAarch64;
  const Error error = plan(vm).error();
  EXPECT_EQ(error.code(), Errc::kUnsupported);
  EXPECT_THAT(error.text(), HasSubstr("aarch64"));
  EXPECT_FALSE(error.hint().empty());
}

TEST(QemuCmdline, EndsWithWhatTheUserAdds) {
  spec::VmSpec vm = with_scratch();
  vm.cmdline_extra = "quiet=no panic=5";
  EXPECT_THAT(kernel_cmdline(vm), testing::EndsWith(" mvm.scratch=1 quiet=no panic=5"));
}

TEST(QemuCmdline, KeepsTheGuestsMitigationsUnderKvm) {
  spec::VmSpec vm = standard();
  EXPECT_THAT(kernel_cmdline(vm), HasSubstr("mitigations=off"));
  vm.accelerator = "kvm";
  EXPECT_THAT(kernel_cmdline(vm), Not(HasSubstr("mitigations=off")));
}

TEST(QemuBackend, NamesAProgramThatIsNotInstalled) {
  spec::VmSpec vm = standard();
  vm.engine_program = "/nowhere/qemu-system-x86_64";
  const QemuBackend backend;
  const auto machine = backend.launch(backend.plan(vm).value());
  ASSERT_FALSE(machine.has_value());
  EXPECT_EQ(machine.error().code(), Errc::kNotFound);
  EXPECT_THAT(machine.error().text(), HasSubstr("starting the qemu engine"));
  EXPECT_THAT(machine.error().text(), HasSubstr("/nowhere/qemu-system-x86_64"));
}

}  // namespace
}  // namespace mvm::backend::qemu
