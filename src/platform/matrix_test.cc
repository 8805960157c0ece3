// SPDX-License-Identifier: Apache-2.0
#include "platform/matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "platform/testing_hosts.h"

namespace mvm::platform {
namespace {

using namespace testing_hosts;
using testing::HasSubstr;

std::string row_id(const HostFacts& facts) {
  const MatrixRow* row = row_for(facts);
  return row != nullptr ? std::string(row->id) : "none";
}

TEST(Matrix, HasTheSixRowsOfThePlatformPage) { EXPECT_EQ(matrix().size(), 6u); }

TEST(Matrix, LinuxWithWorkingKvmIsSupported) {
  EXPECT_EQ(row_id(linux_host(KvmState::kWorks)), "linux-kvm");
  EXPECT_EQ(row_id(linux_host(KvmState::kWorks, "aarch64")), "linux-kvm");
  EXPECT_EQ(decide(linux_host(KvmState::kWorks)).status, Status::kSupported);
}

class LinuxWithoutKvm : public testing::TestWithParam<KvmState> {};
TEST_P(LinuxWithoutKvm, IsLimitedAndSaysWhy) {
  const HostFacts facts = linux_host(GetParam());
  const Support support = decide(facts);
  EXPECT_EQ(row_id(facts), "linux-no-kvm");
  EXPECT_TRUE(support.can_run);
  EXPECT_EQ(support.status, Status::kLimited);
  EXPECT_THAT(support.reason, HasSubstr(facts.kvm.detail));
}
INSTANTIATE_TEST_SUITE_P(States, LinuxWithoutKvm,
                         testing::Values(KvmState::kSoftware, KvmState::kNoPermission,
                                         KvmState::kAbsent, KvmState::kBroken));

TEST(Matrix, AppleSiliconIsSupported) {
  EXPECT_EQ(row_id(mac("arm64")), "macos-apple-silicon");
  EXPECT_TRUE(decide(mac("arm64")).can_run);
  EXPECT_EQ(decide(mac("arm64")).status, Status::kSupported);
}

TEST(Matrix, IntelMacSaysWhatToUseInstead) {
  const Support support = decide(mac("x86_64"));
  EXPECT_EQ(row_id(mac("x86_64")), "macos-intel");
  EXPECT_FALSE(support.can_run);
  EXPECT_EQ(support.status, Status::kUnsupported);
  EXPECT_EQ(support.hint, "use Linux with KVM or Apple Silicon macOS");
}

TEST(Matrix, WindowsNamesItsIssue) {
  for (const HostFacts& facts : {windows("AMD64"), windows("ARM64")}) {
    EXPECT_EQ(row_id(facts), "windows");
    EXPECT_FALSE(decide(facts).can_run);
    EXPECT_EQ(decide(facts).status, Status::kFuture);
    EXPECT_THAT(decide(facts).reason, HasSubstr("mvm#428"));
  }
}

TEST(Matrix, Wsl2WithKvmIsExperimental) {
  const Support support = decide(wsl2(KvmState::kWorks));
  EXPECT_EQ(row_id(wsl2(KvmState::kWorks)), "wsl2");
  EXPECT_TRUE(support.can_run);
  EXPECT_EQ(support.status, Status::kExperimental);
  EXPECT_EQ(support.reason, "WSL2: KVM works");
}

TEST(Matrix, Wsl2WithoutKvmIsLinuxWithoutKvmAndLabelled) {
  EXPECT_EQ(row_id(wsl2(KvmState::kAbsent)), "linux-no-kvm");
  EXPECT_THAT(decide(wsl2(KvmState::kAbsent)).reason, HasSubstr("WSL2: KVM is not usable"));
}

TEST(Matrix, OtherProcessorsAndSystemsAreInNoRow) {
  EXPECT_EQ(row_id(linux_host(KvmState::kWorks, "riscv64")), "none");
  EXPECT_THAT(decide(linux_host(KvmState::kWorks, "riscv64")).reason, HasSubstr("riscv64"));
  EXPECT_EQ(row_id(HostFacts{}), "none");
  EXPECT_FALSE(decide(HostFacts{}).can_run);
}

TEST(Matrix, GuestTargetNamesTheGuestNotTheHost) {
  EXPECT_EQ(guest_target(*host_arch(mac("arm64"))), "aarch64-linux");
  EXPECT_EQ(guest_target(*host_arch(linux_host(KvmState::kWorks, "aarch64"))), "aarch64-linux");
  EXPECT_EQ(guest_target(*host_arch(linux_host(KvmState::kWorks))), "x86_64-linux");
}

}  // namespace
}  // namespace mvm::platform
