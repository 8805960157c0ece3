// SPDX-License-Identifier: Apache-2.0
#include "platform/collect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "platform/kvm_probe.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::platform {
namespace {

using testing::HasSubstr;

TEST(Wsl2, IsToldByItsKernelOrByItsInteroperability) {
  EXPECT_TRUE(is_wsl2("5.15.90.1-microsoft-standard-WSL2", false));
  EXPECT_TRUE(is_wsl2("6.6.1-mine", true));
  EXPECT_FALSE(is_wsl2("6.1.0-56-amd64", false));
  EXPECT_FALSE(is_wsl2("4.4.0-19041-Microsoft", true));  // WSL1
}

TEST(Version, IsFoundInWhatProgramsPrint) {
  EXPECT_EQ(parse_version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)"), "7.2.22");
  EXPECT_EQ(parse_version("Firecracker v1.10.1\n"), "1.10.1");
  EXPECT_EQ(parse_version("mkfs.erofs 1.5\n"), "1.5");
  EXPECT_EQ(parse_version("kmod version 30\n"), "30");
  EXPECT_EQ(parse_version("Docker version 28.2.2, build e6534b4"), "28.2.2");
  EXPECT_EQ(parse_version("no version here"), "");
  EXPECT_EQ(parse_version(""), "");
}

TEST(KvmProbe, MissingDeviceIsAbsent) {
  const KvmFacts facts = probe_kvm("/nonexistent/kvm");
  EXPECT_EQ(facts.state, KvmState::kAbsent);
  EXPECT_FALSE(facts.device_present);
}

TEST(KvmProbe, DeviceThatIsNoKvmIsBroken) {
  const KvmFacts facts = probe_kvm("/dev/null");
  EXPECT_EQ(facts.state, KvmState::kBroken);
  EXPECT_THAT(facts.detail, HasSubstr("KVM_GET_API_VERSION"));
}

TEST(KvmProbe, BrokenIsNotRemembered) {
  const sys::TempDir dir = *sys::TempDir::create("/tmp", "mvm-probe-");
  EXPECT_EQ(probe_kvm_cached(dir.path(), "/dev/null").state, KvmState::kBroken);
  EXPECT_FALSE(sys::path_exists(dir.path() + "/kvm-probe"));
}

TEST(KvmProbe, RememberedAnswerIsTheFirstOne) {
  const sys::TempDir dir = *sys::TempDir::create("/tmp", "mvm-probe-");
  const KvmFacts first = probe_kvm_cached(dir.path());
  const KvmFacts second = probe_kvm_cached(dir.path());
  EXPECT_EQ(second.state, first.state);
  EXPECT_EQ(second.detail, first.detail);
  EXPECT_EQ(second.api_version, first.api_version);
}

TEST(KvmProbe, NoteOfAnotherBootOrDamagedNoteIsIgnored) {
  const sys::TempDir dir = *sys::TempDir::create("/tmp", "mvm-probe-");
  const KvmFacts truth = probe_kvm_cached(dir.path());
  ASSERT_TRUE(sys::write_file(dir.path() + "/kvm-probe",
                              "mvm-kvm-probe 1 other-boot 2792 flag /dev/kvm\nworks 12 lie\n"));
  EXPECT_EQ(probe_kvm_cached(dir.path()).detail, truth.detail);
  ASSERT_TRUE(sys::write_file(dir.path() + "/kvm-probe", "works"));
  EXPECT_EQ(probe_kvm_cached(dir.path()).detail, truth.detail);
}

TEST(Collect, FullFactsOfThisHostArePlausible) {
  const sys::TempDir dir = *sys::TempDir::create("/tmp", "mvm-collect-");
  const HostFacts facts = collect_full({dir.path(), dir.path() + "/not/yet/there", ""});
  EXPECT_EQ(facts.os, Os::kLinux);
  EXPECT_NE(facts.os_name, "");
  EXPECT_GT(facts.memory, mebibytes(64));
  EXPECT_GT(facts.disk_total, mebibytes(1));
  EXPECT_GE(facts.cpus, 1u);
  EXPECT_EQ(facts.engines.size(), 7u);
}

}  // namespace
}  // namespace mvm::platform
