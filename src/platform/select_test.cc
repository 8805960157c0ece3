// SPDX-License-Identifier: Apache-2.0
#include "platform/select.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "platform/testing_hosts.h"

namespace mvm::platform {
namespace {

using namespace testing_hosts;
using spec::Isolation;
using testing::HasSubstr;

const std::set<std::string> kNow = {"qemu", "fake"};
const std::set<std::string> kAll = {"firecracker", "mvm-vmm", "qemu", "libkrun",
                                    "vfkit",       "docker",  "fake"};

SelectionRequest by_name(const std::string& name) {
  return {
      .backend = name, .minimum = Isolation::kEmulated, .guest_arch = {}, .allow_docker = false};
}
SelectionRequest at_least(Isolation minimum) {
  return {.backend = "auto", .minimum = minimum, .guest_arch = {}, .allow_docker = false};
}

// "backend/accelerator/tier", or the error's text.
std::string choice(const HostFacts& facts, const std::set<std::string>& compiled_in,
                   const SelectionRequest& request) {
  const auto s = select_backend(facts, compiled_in, request);
  if (!s) return s.error().text();
  return s->backend + "/" + s->accelerator + "/" + std::string(isolation_name(s->isolation));
}

HostFacts with_engines(HostFacts facts, const std::vector<std::string>& names) {
  facts.engines.clear();
  for (const std::string& name : names) facts.engines.push_back(engine(name));
  return facts;
}

TEST(Select, FirecrackerComesFirst) {
  const HostFacts facts =
      with_engines(linux_host(KvmState::kWorks), {"firecracker", "mvm-vmm", "qemu-system-x86_64"});
  EXPECT_EQ(choice(facts, kAll, {}), "firecracker/kvm/microvm");
}

TEST(Select, OwnMonitorComesSecond) {
  const HostFacts facts =
      with_engines(linux_host(KvmState::kWorks), {"mvm-vmm", "qemu-system-x86_64", "krunvm"});
  EXPECT_EQ(choice(facts, kAll, {}), "mvm-vmm/kvm/microvm");
}

TEST(Select, QemuUsesKvmWhereItWorks) {
  EXPECT_EQ(choice(linux_host(KvmState::kWorks), kNow, {}), "qemu/kvm/microvm");
}

TEST(Select, LibkrunWithKvmIsBetterThanEmulation) {
  EXPECT_EQ(choice(with_engines(linux_host(KvmState::kWorks), {"krunvm"}), kAll, {}),
            "libkrun/kvm/microvm");
}

TEST(Select, SoftwareKvmMeansEmulationAndSaysWhy) {
  const auto s = select_backend(linux_host(KvmState::kSoftware), kNow, {});
  ASSERT_TRUE(s);
  EXPECT_EQ(s->accelerator, "tcg");
  EXPECT_THAT(s->reason, HasSubstr("detail of software_kvm"));
  EXPECT_EQ(s->posture,
            "mvm: backend qemu (tcg), isolation emulated: a machine boundary, but not one QEMU "
            "supports as a security "
            "boundary");
}

TEST(Select, MicrovmRefusesSoftwareKvmWithReasonAndRemedy) {
  const auto s =
      select_backend(linux_host(KvmState::kSoftware), kNow, at_least(Isolation::kMicrovm));
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().code(), Errc::kUnavailable);
  EXPECT_EQ(s.error().text(),
            "no backend gives isolation microvm or better on this host; qemu (kvm): KVM is not "
            "usable: detail of "
            "software_kvm; qemu (tcg): its isolation is only emulated");
  EXPECT_THAT(s.error().hint(), HasSubstr("hardware virtualisation"));
}

TEST(Select, MicrovmWithoutPermissionSaysHowToGetIt) {
  const auto s =
      select_backend(linux_host(KvmState::kNoPermission), kNow, at_least(Isolation::kMicrovm));
  EXPECT_THAT(s.error().hint(), HasSubstr("usermod -aG kvm"));
}

TEST(Select, MissingQemuSaysWhatToInstall) {
  const auto s = select_backend(with_engines(linux_host(KvmState::kSoftware), {}), kNow, {});
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().code(), Errc::kUnavailable);
  EXPECT_THAT(s.error().text(), HasSubstr("qemu-system-x86_64 is not installed"));
  EXPECT_EQ(s.error().hint(), "apt-get install qemu-system-x86");
}

TEST(Select, ForeignGuestIsEmulatedEvenWithKvm) {
  SelectionRequest request;
  request.guest_arch = spec::Arch::kAarch64;
  EXPECT_EQ(choice(linux_host(KvmState::kWorks), kNow, request), "qemu/tcg/emulated");
}

TEST(Select, ForeignGuestNeedsItsOwnQemu) {
  SelectionRequest request;
  request.guest_arch = spec::Arch::kAarch64;
  const auto s = select_backend(with_engines(linux_host(KvmState::kWorks), {"qemu-system-x86_64"}),
                                kNow, request);
  EXPECT_EQ(s.error().hint(), "apt-get install qemu-system-arm");
}

TEST(Select, UnknownNameListsTheValidOnes) {
  const auto s = select_backend(linux_host(KvmState::kWorks), kNow, by_name("vmware"));
  EXPECT_EQ(s.error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(s.error().text(), "'vmware' is no backend");
  EXPECT_EQ(s.error().hint(), "valid backends: auto, fake, qemu");
}

TEST(Select, KnownNameThatIsNotCompiledInIsUnsupported) {
  const auto s = select_backend(linux_host(KvmState::kWorks), kNow, by_name("firecracker"));
  EXPECT_EQ(s.error().code(), Errc::kUnsupported);
  EXPECT_THAT(s.error().text(), HasSubstr("not part of this build"));
}

TEST(Select, DockerIsNeverTakenUnasked) {
  const HostFacts facts = with_engines(linux_host(KvmState::kAbsent), {"docker"});
  SelectionRequest request = at_least(Isolation::kContainer);
  EXPECT_THAT(choice(facts, kAll, request), HasSubstr("no backend gives isolation"));
  request.allow_docker = true;
  EXPECT_EQ(choice(facts, kAll, request), "docker//container");
}

TEST(Select, DockerByNameIsEnough) {
  const HostFacts facts = with_engines(linux_host(KvmState::kAbsent), {"docker"});
  SelectionRequest request;
  request.backend = "docker";
  EXPECT_EQ(choice(facts, kAll, request), "docker//container");
  EXPECT_THAT(choice(with_engines(facts, {}), kAll, request), HasSubstr("no Docker socket"));
  request.backend = "auto";
  request.allow_docker = true;
  EXPECT_EQ(choice(facts, kAll, request), "docker//container");
}

TEST(Select, DockerRunsGuestsOfThisProcessorOnly) {
  const HostFacts facts = with_engines(linux_host(KvmState::kAbsent), {"docker"});
  SelectionRequest request = by_name("docker");
  request.minimum.reset();
  request.guest_arch = spec::Arch::kAarch64;
  EXPECT_THAT(choice(facts, kAll, request), HasSubstr("has this host's processor"));
}

TEST(Select, DockerIsNoMatchForAMinimum) {
  const HostFacts facts = with_engines(linux_host(KvmState::kAbsent), {"docker"});
  SelectionRequest request = by_name("docker");
  EXPECT_EQ(choice(facts, kAll, request),
            "backend docker cannot be used; docker: its isolation is only container");
  request.minimum = Isolation::kContainer;
  const auto s = select_backend(facts, kAll, request);
  EXPECT_THAT(s->posture, HasSubstr("no microVM boundary"));
}

TEST(Select, Wsl2IsUsedOnlyByWhoWantsTheExperiment) {
  const auto refused = select_backend(wsl2(KvmState::kWorks), kAll, {});
  EXPECT_EQ(refused.error().code(), Errc::kUnsupported);
  EXPECT_EQ(refused.error().text(), "this host is WSL2, whose support is experimental");
  EXPECT_EQ(refused.error().hint(),
            "to go on: --experimental, or once: mvmctl config set experimental true");
  SelectionRequest request;
  request.experimental = true;
  EXPECT_EQ(choice(wsl2(KvmState::kWorks), kAll, request), "qemu/kvm/microvm");
  EXPECT_EQ(choice(wsl2(KvmState::kAbsent), kAll, request), "qemu/tcg/emulated");
}

TEST(Select, Wsl2WithoutKvmIsToldHowToNest) {
  const auto refused = select_backend(wsl2(KvmState::kAbsent), kAll, {});
  EXPECT_THAT(refused.error().hint(), HasSubstr("nestedVirtualization=true"));
}

TEST(Select, NothingRunsOnWindowsAndIntelMacsWhateverIsAsked) {
  SelectionRequest request;
  request.experimental = true;
  const auto windows_host = select_backend(windows(), kAll, request);
  EXPECT_EQ(windows_host.error().text(), "Windows has no backend yet; it is tracked as mvm#428");
  EXPECT_EQ(windows_host.error().hint(), "use Linux with KVM");
  const auto intel_mac = select_backend(mac("x86_64"), kAll, request);
  EXPECT_EQ(intel_mac.error().text(), "Intel macOS is not supported");
  EXPECT_EQ(intel_mac.error().hint(), "use Linux with KVM or Apple Silicon macOS");
}

TEST(Select, FakeIsTakenByNameOnly) {
  SelectionRequest request = by_name("fake");
  EXPECT_THAT(choice(with_engines(linux_host(KvmState::kAbsent), {}), kNow, request),
              HasSubstr("container"));
  request.minimum = Isolation::kContainer;
  EXPECT_EQ(choice(with_engines(linux_host(KvmState::kAbsent), {}), kNow, request),
            "fake//container");
  EXPECT_THAT(choice(linux_host(KvmState::kAbsent), {"fake"}, {}),
              HasSubstr("no backend gives isolation"));
}

TEST(Select, AppleSiliconUsesItsVirtualization) {
  EXPECT_EQ(choice(mac("arm64"), kAll, {}), "vfkit/hvf/microvm");
  EXPECT_EQ(choice(with_engines(mac("arm64"), {"krunvm"}), kAll, {}), "libkrun/hvf/microvm");
}

TEST(Select, UnsupportedHostsGetTheMatrixMessage) {
  EXPECT_THAT(choice(windows(), kAll, {}), HasSubstr("mvm#428"));
  EXPECT_THAT(choice(mac("x86_64"), kAll, {}), HasSubstr("Intel macOS"));
}

TEST(Select, IsolationNamesRoundTrip) {
  EXPECT_EQ(*parse_isolation("microvm"), Isolation::kMicrovm);
  EXPECT_EQ(*parse_isolation("emulated"), Isolation::kEmulated);
  EXPECT_EQ(*parse_isolation("container"), Isolation::kContainer);
  EXPECT_EQ(parse_isolation("strong").error().hint(), "valid tiers: microvm, emulated, container");
}

}  // namespace
}  // namespace mvm::platform
