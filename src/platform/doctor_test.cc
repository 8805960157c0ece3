// SPDX-License-Identifier: Apache-2.0
#include "platform/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "platform/testing_hosts.h"

namespace mvm::platform {
namespace {

using namespace testing_hosts;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

HostFacts host(KvmState kvm) {
  HostFacts facts = linux_host(kvm);
  facts.engines = {{"qemu-system-x86_64", "/usr/bin/qemu-system-x86_64", "7.2.22", "backend qemu",
                    "qemu-system-x86"}};
  facts.tools = {{"skopeo", "", "", "pulling images from registries", "skopeo"}};
  return facts;
}

Result<Selection> selected(const HostFacts& facts) { return select_backend(facts, {"qemu"}, {}); }

TEST(Doctor, TextOnAHostWithSoftwareKvm) {
  const HostFacts facts = host(KvmState::kSoftware);
  EXPECT_EQ(doctor_text(facts, selected(facts)),
            "warn    Debian GNU/Linux 12 (bookworm) on x86_64: limited\n"
            "        KVM is not usable (detail of software_kvm), machines are emulated\n"
            "warn    /dev/kvm is a software KVM that cannot boot a stock kernel\n"
            "        detail of software_kvm\n"
            "        to do: for hardware isolation use a machine with vmx or svm; until then "
            "machines are emulated\n"
            "warn    backend qemu (tcg), isolation emulated\n"
            "        KVM is not usable (detail of software_kvm), so qemu emulates the processor\n"
            "ok      qemu-system-x86_64 7.2.22\n"
            "        /usr/bin/qemu-system-x86_64\n"
            "warn    skopeo is not installed\n"
            "        needed for: pulling images from registries\n"
            "        to do: apt-get install skopeo\n"
            "ok      50G free of 100G\n"
            "ok      8G of memory, 4 processors\n");
}

TEST(Doctor, NamesTheFileOfAMonitorByItsDigest) {
  HostFacts facts = host(KvmState::kWorks);
  facts.engines = {
      {"mvm-vmm", "/usr/libexec/mvm/mvm-vmm", "0.1.0", "backend mvm-vmm", "", "c0ffee"}};
  EXPECT_THAT(doctor_text(facts, selected(facts)),
              HasSubstr("ok      mvm-vmm 0.1.0\n"
                        "        /usr/libexec/mvm/mvm-vmm, sha256 c0ffee\n"));
  EXPECT_EQ(json::parse(doctor_json(facts, selected(facts)))["engines"][0]["sha256"], "c0ffee");
}

TEST(Doctor, WarnsOfAMonitorWithoutItsJail) {
  HostFacts facts = host(KvmState::kWorks);
  facts.engines.push_back(engine("mvm-vmm"));
  EXPECT_THAT(doctor_text(facts, selected(facts)), Not(HasSubstr("jail")));
  facts.jail_off = true;
  EXPECT_THAT(doctor_text(facts, selected(facts)),
              HasSubstr("warn    mvm-vmm is started without its jail\n"));
}

TEST(Doctor, TextOnAHostWhereEverythingIsFine) {
  HostFacts facts = host(KvmState::kWorks);
  facts.tools.clear();
  EXPECT_EQ(doctor_text(facts, selected(facts)),
            "ok      Debian GNU/Linux 12 (bookworm) on x86_64: supported\n"
            "ok      KVM works (API 12)\n"
            "ok      backend qemu (kvm), isolation microvm\n"
            "        the strongest one that is installed and has hardware virtualisation\n"
            "ok      qemu-system-x86_64 7.2.22\n"
            "        /usr/bin/qemu-system-x86_64\n"
            "ok      50G free of 100G\n"
            "ok      8G of memory, 4 processors\n");
  EXPECT_EQ(worst(findings(facts, selected(facts))), Severity::kOk);
}

class DoctorKvm : public testing::TestWithParam<KvmState> {};
TEST_P(DoctorKvm, EveryStateButWorkingHasARemedy) {
  const HostFacts facts = host(GetParam());
  const auto list = findings(facts, selected(facts));
  ASSERT_EQ(list[1].id, "kvm");
  EXPECT_EQ(list[1].severity, Severity::kWarn);
  EXPECT_NE(list[1].title, "");
  EXPECT_NE(list[1].fix, "");
}
INSTANTIATE_TEST_SUITE_P(States, DoctorKvm,
                         testing::Values(KvmState::kSoftware, KvmState::kNoPermission,
                                         KvmState::kAbsent, KvmState::kBroken));

TEST(Doctor, NoBackendIsAProblemWithItsHint) {
  HostFacts facts = host(KvmState::kAbsent);
  facts.engines.clear();
  const auto list = findings(facts, selected(facts));
  EXPECT_EQ(worst(list), Severity::kProblem);
  EXPECT_EQ(list[2].fix, "apt-get install qemu-system-x86");
}

TEST(Doctor, LowDiskIsAWarningWithARemedy) {
  HostFacts facts = host(KvmState::kWorks);
  facts.disk_free = mebibytes(100);
  EXPECT_THAT(doctor_text(facts, selected(facts)), HasSubstr("mvmctl image prune"));
}

TEST(Doctor, DirectoryThatMayNotBeWrittenIsAProblemWithARemedy) {
  HostFacts facts = host(KvmState::kWorks);
  facts.data_writable = false;
  facts.data_dir = "/srv/mvm";
  EXPECT_EQ(worst(findings(facts, selected(facts))), Severity::kProblem);
  EXPECT_THAT(doctor_text(facts, selected(facts)), HasSubstr("may not write to /srv/mvm"));
  EXPECT_THAT(doctor_text(facts, selected(facts)), HasSubstr("MVM_HOME"));
}

TEST(Doctor, UnsupportedHostIsAProblem) {
  const HostFacts facts = windows();
  EXPECT_EQ(worst(findings(facts, selected(facts))), Severity::kProblem);
  EXPECT_THAT(doctor_text(facts, selected(facts)), HasSubstr("mvm#428"));
}

TEST(Doctor, JsonHasSchemaSelectionAndFindings) {
  const HostFacts facts = host(KvmState::kSoftware);
  const json root = json::parse(doctor_json(facts, selected(facts)), nullptr, false);
  ASSERT_TRUE(root.is_object());
  EXPECT_EQ(root["schema"], 1);
  EXPECT_EQ(root["kvm"]["state"], "software_kvm");
  EXPECT_EQ(root["selection"]["backend"], "qemu");
  EXPECT_EQ(root["selection"]["isolation"], "emulated");
  EXPECT_EQ(root["host"]["guest_target"], "x86_64-linux");
  EXPECT_EQ(root["findings"][0]["id"], "host");
}

TEST(Doctor, MatrixMarksThisHost) {
  EXPECT_THAT(matrix_text(host(KvmState::kWorks)), HasSubstr("* Linux with /dev/kvm"));
  const json root = json::parse(matrix_json(host(KvmState::kSoftware)), nullptr, false);
  EXPECT_EQ(root["rows"][2]["this_host"], true);
  EXPECT_EQ(root["rows"].size(), 6u);
}

TEST(Report, HoldsEverythingThePageAsksFor) {
  const HostFacts facts = host(KvmState::kSoftware);
  const json root = json::parse(report_json(facts, selected(facts),
                                            {.mvm_version = "0.1.0",
                                             .created = "now",
                                             .log_tails = {{"console", "x"}},
                                             .home = "",
                                             .environment = {}}),
                                nullptr, false);
  EXPECT_EQ(root["host_os"], "Debian GNU/Linux 12 (bookworm)");
  EXPECT_EQ(root["arch"], "x86_64");
  EXPECT_EQ(root["backend"], "qemu");
  EXPECT_EQ(root["dev_kvm_present"], true);
  EXPECT_EQ(root["kvm_works"], false);
  EXPECT_EQ(root["doctor"]["schema"], 1);
  EXPECT_EQ(root["logs"]["console"], "x");
}

TEST(Report, ContainsNeitherHomeNorSecrets) {
  const HostFacts facts = host(KvmState::kSoftware);
  const ReportInput input{
      .mvm_version = "0.1.0",
      .created = "now",
      .log_tails = {{"web /home/ann/x.log",
                     "token hunter2secret at /home/ann/vm \"API_TOKEN=\"q\"\n"}},
      .home = "/home/ann",
      .environment = {"GITHUB_TOKEN=hunter2secret", "SHORT_KEY=a", "PATH=/usr/bin"}};
  const std::string text = report_json(facts, selected(facts), input);
  EXPECT_THAT(text, Not(HasSubstr("hunter2secret")));
  EXPECT_THAT(text, Not(HasSubstr("/home/ann")));
  EXPECT_THAT(text, HasSubstr("~/.local/share/mvm"));
  EXPECT_TRUE(json::parse(text, nullptr, false).is_object());
}

TEST(Redact, AssignmentsOfSecretNames) {
  EXPECT_EQ(redact("env DB_PASSWORD=abc USER=ann", "", {}), "env DB_PASSWORD=[redacted] USER=ann");
  EXPECT_EQ(redact("token: abc next", "", {}), "token: [redacted] next");
  EXPECT_EQ(redact("secret=", "", {}), "secret=");
}

TEST(Redact, HomeOnlyAsAWholePath) {
  EXPECT_EQ(redact("/home/ann /home/anna /home/ann/x", "/home/ann", {}), "~ /home/anna ~/x");
}

TEST(Redact, LeavesOrdinaryTextAlone) {
  EXPECT_EQ(redact("kernel: ok, keyboard=us\n", "/root", {"HOME=/root"}),
            "kernel: ok, keyboard=us\n");
}

}  // namespace
}  // namespace mvm::platform
