// SPDX-License-Identifier: Apache-2.0
#include "spec/vm_spec_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace mvm::spec {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// Every field differs from its default.
VmSpec full() {
  VmSpec vm;
  vm.id = "0123456789abcdef";
  vm.name = "web";
  vm.arch = Arch::kAarch64;
  vm.backend = "qemu";
  vm.accelerator = "tcg";
  vm.isolation = Isolation::kMicrovm;
  vm.tsc_khz = 2'400'000;
  vm.kernel_path = "/cache/vmlinux";
  vm.initramfs_path = "/cache/initramfs";
  vm.cmdline_extra = "loglevel=7 \"quoted\"";
  vm.image_path = "/data/x.erofs";
  vm.image_ref = "debian:bookworm";
  vm.image_digest = std::string(64, 'a');
  vm.scratch_path = "/data/scratch.img";
  vm.volumes = {{"data", "/srv", "/data/volumes/data/disk.img"}};
  vm.hostname = "höst";
  vm.network = {NetworkMode::kNone,
                {{"0.0.0.0", 8080, 80, Protocol::kTcp}, {"127.0.0.1", 53, 5353, Protocol::kUdp}}};
  vm.limits = {4, gibibytes(2), 100, mebibytes(1), Millis(3'600'000), Millis(5000), Millis(60'000)};
  vm.restart = {true, 3};
  vm.exec_defaults = {{}, {"A=b"}, "/srv", "nobody", "INT"};
  vm.process = ProcessSpec{{"nginx", "-g", ""}, {"C=d", "E="}, "/", "www:www", "QUIT"};
  vm.run_dir = "/run/mvm/vms/x";
  vm.data_dir = "/data/vms/x";
  vm.engine_program = "/usr/bin/qemu-system-aarch64";
  vm.network_program = "/libexec/mvm-netd";
  vm.jail = false;
  vm.jail_user = 1'900'000'000;
  vm.remove_when_done = true;
  return vm;
}

json object() { return json::parse(to_json(full())); }

Error refusal(const json& changed) {
  auto got = vm_spec_from_json(changed.dump());
  return got ? Error(Errc::kIo, "accepted") : got.error();
}

TEST(VmSpecJson, MatchesTheGoldenFile) {
  const std::string path = std::string(MVM_SOURCE_DIR) + "/tests/golden/spec/vm_spec.json";
  std::ifstream file(path);
  EXPECT_EQ(json::parse(file, nullptr, false), object())
      << path << " is not what this version writes:\n"
      << object().dump(2);
}

TEST(VmSpecJson, ComesBackWithEveryField) {
  const VmSpec vm = vm_spec_from_json(to_json(full())).value();
  EXPECT_EQ(json::parse(to_json(vm)), object());
  EXPECT_EQ(vm.name, "web");
  EXPECT_EQ(vm.arch, Arch::kAarch64);
  EXPECT_EQ(vm.isolation, Isolation::kMicrovm);
  EXPECT_EQ(vm.tsc_khz, 2'400'000U);
  EXPECT_EQ(vm.cmdline_extra, "loglevel=7 \"quoted\"");
  EXPECT_EQ(vm.hostname, "höst");
  EXPECT_EQ(vm.network.mode, NetworkMode::kNone);
  ASSERT_EQ(vm.network.forwards.size(), 2U);
  EXPECT_EQ(vm.network.forwards[0].host_ip, "0.0.0.0");
  EXPECT_EQ(vm.network.forwards[1].protocol, Protocol::kUdp);
  EXPECT_EQ(vm.limits.ttl, Millis(3'600'000));
  EXPECT_EQ(vm.limits.boot_deadline, Millis(5000));
  EXPECT_EQ(vm.limits.memory, gibibytes(2));
  EXPECT_EQ(vm.restart.max_restarts, 3U);
  ASSERT_TRUE(vm.process.has_value());
  EXPECT_EQ(vm.process->argv, (std::vector<std::string>{"nginx", "-g", ""}));
  EXPECT_EQ(vm.exec_defaults.user, "nobody");
  EXPECT_FALSE(vm.jail);
  EXPECT_EQ(vm.jail_user, 1'900'000'000U);
  EXPECT_TRUE(vm.remove_when_done);
}

TEST(VmSpecJson, LeavesOptionalFieldsAbsent) {
  VmSpec vm = full();
  vm.process.reset();
  vm.limits.ttl.reset();
  const VmSpec again = vm_spec_from_json(to_json(vm)).value();
  EXPECT_FALSE(again.process.has_value());
  EXPECT_FALSE(again.limits.ttl.has_value());
}

TEST(VmSpecJson, HoldsEveryFieldOfTheStructure) {
  // Fails when a field is added to VmSpec and nobody thinks of the JSON: raise the number with the
  // field.
  EXPECT_EQ(object().size(), 29U);
  EXPECT_EQ(object()["limits"].size(), 7U);
  EXPECT_EQ(object()["process"].size(), 5U);
}

TEST(VmSpecJson, SurvivesTextThatIsNotUtf8) {
  VmSpec vm = full();
  vm.process->argv[0] = "\xff\xfe";
  EXPECT_TRUE(vm_spec_from_json(to_json(vm)).has_value());
}

TEST(VmSpecJson, NamesAFieldThatIsMissing) {
  const json whole = object();
  for (const auto& [key, value] : whole.items()) {
    json changed = object();
    changed.erase(key);
    const bool optional =
        key == "process" || key == "jail" || key == "jail_user" || key == "volumes";
    const bool required = !optional && key != "schema";
    const Error error = refusal(changed);
    EXPECT_EQ(error.code() == Errc::kCorrupt, required) << key;
    EXPECT_EQ(error.text().find("field '" + key + "'") != std::string::npos, required)
        << key << ": " << error.text();
  }
}

TEST(VmSpecJson, NamesAFieldOfAnotherType) {
  const json whole = object();
  for (const auto& [key, value] : whole.items()) {
    json changed = object();
    changed[key] = json::array({1});
    const Error error = refusal(changed);
    EXPECT_THAT(error.code(), testing::AnyOf(Errc::kCorrupt, Errc::kUnsupported)) << key;
  }
}

TEST(VmSpecJson, NamesAMissingFieldInsideAnother) {
  for (const std::string part : {"network", "limits", "restart", "exec_defaults", "process"}) {
    const json inner = object()[part];
    for (const auto& [key, value] : inner.items()) {
      json changed = object();
      changed[part].erase(key);
      const bool optional = key == "ttl_ms" || key == "idle_ms";
      EXPECT_EQ(refusal(changed).text().find("field '" + key + "'") != std::string::npos, !optional)
          << part << "." << key;
    }
  }
}

TEST(VmSpecJson, NamesBothSchemasWhenTheyDiffer) {
  json changed = object();
  changed["schema"] = 7;
  const Error error = refusal(changed);
  EXPECT_EQ(error.code(), Errc::kUnsupported);
  EXPECT_EQ(error.text(), "machine specification has schema 7, this mvm reads 1");
}

TEST(VmSpecJson, DoesNotTakeASchemaBeyond32BitsForItsOwn) {
  json changed = object();
  changed["schema"] = 4294967297;
  EXPECT_EQ(refusal(changed).code(), Errc::kUnsupported);
}

TEST(VmSpecJson, RefusesNumbersThatDoNotFit) {
  json changed = object();
  changed["limits"]["vcpus"] = -1;
  EXPECT_THAT(refusal(changed).text(), HasSubstr("'vcpus'"));
  changed = object();
  changed["limits"]["vcpus"] = 4294967296;
  EXPECT_THAT(refusal(changed).text(), HasSubstr("'vcpus'"));
  changed = object();
  changed["network"]["forwards"][0]["host_port"] = 65536;
  EXPECT_THAT(refusal(changed).text(), HasSubstr("'host_port'"));
  changed = object();
  changed["limits"]["memory_bytes"] = 1.5;
  EXPECT_THAT(refusal(changed).text(), HasSubstr("'memory_bytes'"));
}

TEST(VmSpecJson, RefusesAWordThatItDoesNotKnowInsteadOfGuessing) {
  json changed = object();
  changed["network"]["mode"] = "bridge";
  EXPECT_THAT(refusal(changed).text(), HasSubstr("'mode'"));
  changed = object();
  changed["network"]["forwards"][0]["protocol"] = "sctp";
  EXPECT_THAT(refusal(changed).text(), HasSubstr("'protocol'"));
  changed = object();
  changed["isolation"] = "none";
  EXPECT_THAT(refusal(changed).text(), HasSubstr("'none'"));
  changed = object();
  changed["arch"] = "riscv64";
  EXPECT_THAT(refusal(changed).text(), HasSubstr("'riscv64'"));
}

TEST(VmSpecJson, RefusesWhatIsNoObject) {
  for (const char* text : {"", "{", "[]", "null", "\"vm\"", "{\"schema\":1} x"})
    EXPECT_EQ(vm_spec_from_json(text).error().code(), Errc::kCorrupt) << text;
}

TEST(VmSpecJson, RefusesForwardsThatAreNoObjects) {
  json changed = object();
  changed["network"]["forwards"] = json::array({80});
  EXPECT_THAT(refusal(changed).text(), HasSubstr("'forwards'"));
}

TEST(Words, RoundTrip) {
  for (const Isolation tier : {Isolation::kContainer, Isolation::kEmulated, Isolation::kMicrovm})
    EXPECT_EQ(parse_isolation(to_string(tier)).value(), tier);
  for (const Arch arch : {Arch::kX86_64, Arch::kAarch64})
    EXPECT_EQ(parse_arch(to_string(arch)).value(), arch);
  EXPECT_EQ(parse_arch("amd64").value(), Arch::kX86_64);
  EXPECT_EQ(parse_arch("arm64").value(), Arch::kAarch64);
}

TEST(Words, ThatDoNotExistListTheOnesThatDo) {
  EXPECT_EQ(parse_isolation("vm").error().hint(), "choose one of microvm, emulated, container");
  EXPECT_EQ(parse_arch("i386").error().hint(), "choose x86_64 or aarch64");
}

TEST(Words, AreOrderedFromWeakestToStrongest) {
  EXPECT_LT(Isolation::kContainer, Isolation::kEmulated);
  EXPECT_LT(Isolation::kEmulated, Isolation::kMicrovm);
}

}  // namespace
}  // namespace mvm::spec
