// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/api/config_file.h"

namespace mvm::vmm {
namespace {

using testing::HasSubstr;

TEST(Answers, NothingToTellIs204) {
  const ApiResponse response = to_response(ApiAnswer{NoContent{}});
  EXPECT_EQ(response.status, 204);
  EXPECT_EQ(response.body, "");
}

TEST(Answers, AnErrorIs400WithItsWholeText) {
  const ApiResponse response =
      to_response(Error(Errc::kNotFound, "open /k: no").with_context("boot source"));
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.body, R"({"fault_message":"boot source: open /k: no"})");
}

TEST(Answers, AFaultMayHoldAnyBytes) {
  EXPECT_EQ(fault("a\"\xff").body, "{\"fault_message\":\"a\\\"\xef\xbf\xbd\"}");
}

TEST(Answers, TellsTheInstance) {
  const InstanceInfo info{
      .id = "a", .state = VmState::kNotStarted, .vmm_version = "1.0", .app_name = "mvm-vmm"};
  const ApiResponse response = to_response(ApiAnswer{info});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body,
            R"({"app_name":"mvm-vmm","id":"a","state":"Not started","vmm_version":"1.0"})");
}

TEST(Answers, TellsTheVersionUnderFirecrackersName) {
  EXPECT_EQ(to_json(VersionAnswer{"1.2.3"}), R"({"firecracker_version":"1.2.3"})");
}

TEST(Answers, TellsTheMachineConfiguration) {
  EXPECT_EQ(to_json(MachineConfig{}),
            R"({"huge_pages":"None","mem_size_mib":128,"smt":false,"track_dirty_pages":false,)"
            R"("vcpu_count":1})");
}

TEST(Answers, LeavesOutStatisticsThatTheGuestDidNotTell) {
  BalloonStats stats;
  stats.target_pages = 256;
  stats.free_memory = 4096;
  EXPECT_EQ(to_json(stats), R"({"actual_mib":0,"actual_pages":0,"free_memory":4096,"target_mib":0,)"
                            R"("target_pages":256})");
}

TEST(Answers, TellsHinting) {
  EXPECT_EQ(to_json(BalloonHintingStatus{.host_cmd = 2, .guest_cmd = {}}),
            R"({"guest_cmd":null,"host_cmd":2})");
}

TEST(Answers, MetadataIsToldAsItIs) {
  EXPECT_EQ(to_json(MmdsAnswer{R"({"a":1})"}), R"({"a":1})");
  EXPECT_EQ(to_json(MmdsAnswer{}), "{}");
  EXPECT_EQ(to_json(MmdsAnswer{"null"}), "{}");
}

TEST(Answers, AnEmptyMachineHasAllSections) {
  const std::string json = to_json(VmConfig{});
  for (const char* part : {R"("drives":[])", R"("network-interfaces":[])", R"("vsock":null)",
                           R"("boot-source":{)", R"("machine-config":{)", R"("balloon":null)"})
    EXPECT_THAT(json, HasSubstr(part));
}

constexpr std::string_view kEverything = R"({
  "machine-config": {"vcpu_count": 2, "mem_size_mib": 256},
  "boot-source": {"kernel_image_path": "/k", "initrd_path": "/i", "boot_args": "quiet"},
  "drives": [{"drive_id": "root", "is_root_device": true, "path_on_host": "/d",
              "is_read_only": false, "cache_type": "Unsafe", "io_engine": "Sync",
              "rate_limiter": {"bandwidth": {"size": 1, "refill_time": 2}, "ops": null}}],
  "network-interfaces": [{"iface_id": "eth0", "host_dev_name": "tap0",
                          "guest_mac": "06:00:ac:10:00:02"}],
  "vsock": {"guest_cid": 3, "uds_path": "/v"},
  "balloon": {"amount_mib": 0, "deflate_on_oom": false},
  "entropy": {},
  "serial": {"serial_out_path": "/o"},
  "logger": {"level": "Info"},
  "metrics": {"metrics_path": "/m"},
  "mmds-config": {"version": "V2", "network_interfaces": ["eth0"]}
})";

// What the requests of a configuration file make of a machine.
VmConfig configured(const std::vector<ApiRequest>& requests) {
  VmConfig out;
  for (const ApiRequest& request : requests) {
    if (const auto* put = std::get_if<PutMachineConfig>(&request)) out.machine = put->config;
    if (const auto* put = std::get_if<PutBootSource>(&request)) out.boot_source = put->config;
    if (const auto* put = std::get_if<PutDrive>(&request)) out.drives.push_back(put->config);
    if (const auto* put = std::get_if<PutNetwork>(&request))
      out.network_interfaces.push_back(put->config);
    if (const auto* put = std::get_if<PutVsock>(&request)) out.vsock = put->config;
    if (const auto* put = std::get_if<PutBalloon>(&request)) out.balloon = put->config;
    if (const auto* put = std::get_if<PutEntropy>(&request)) out.entropy = put->config;
    if (const auto* put = std::get_if<PutSerial>(&request)) out.serial = put->config;
    if (const auto* put = std::get_if<PutLogger>(&request)) out.logger = put->config;
    if (const auto* put = std::get_if<PutMetrics>(&request)) out.metrics = put->config;
    if (const auto* put = std::get_if<PutMmdsConfig>(&request)) out.mmds = put->config;
  }
  return out;
}

TEST(ConfigFile, LoadsASnapshotAndThenDescribesNoMachine) {
  const std::string load =
      R"("snapshot-load":{"snapshot_path":"/s","mem_file_path":"/m","resume_vm":true})";
  const auto requests = parse_config_file("{" + load + R"(,"logger":{"level":"Error"}})").value();
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(std::get<PutSnapshotLoad>(requests.back()).config.snapshot_path, "/s");
  EXPECT_THAT(parse_config_file("{" + load + R"(,"boot-source":{"kernel_image_path":"/k"}})")
                  .error()
                  .text(),
              HasSubstr("boot-source"));
}

TEST(ConfigFile, ReadsEverySectionOnce) {
  const std::vector<ApiRequest> requests = parse_config_file(kEverything).value();
  EXPECT_EQ(requests.size(), 11U);
  EXPECT_EQ(configured(requests).drives.at(0).rate_limiter->bandwidth->refill_time_ms, 2U);
}

TEST(ConfigFile, InterfacesComeBeforeTheMetadataThatNamesThem) {
  const std::vector<ApiRequest> requests = parse_config_file(kEverything).value();
  EXPECT_TRUE(std::holds_alternative<PutMmdsConfig>(requests.back()));
  EXPECT_TRUE(std::holds_alternative<PutLogger>(requests.front()));
}

TEST(ConfigFile, WhatTheMachineTellsConfiguresTheSameMachine) {
  const VmConfig config = configured(parse_config_file(kEverything).value());
  const VmConfig again = configured(parse_config_file(to_json(config)).value());
  VmConfig expected = config;
  expected.mmds->ipv4_address = kDefaultMmdsAddress;  // told, though it was not given
  EXPECT_EQ(again, expected);
}

TEST(ConfigFile, NeedsABootSource) {
  EXPECT_THAT(parse_config_file("{}").error().text(), HasSubstr("boot-source"));
}

TEST(ConfigFile, NamesTheSectionOfAnError) {
  const auto result = parse_config_file(
      R"({"boot-source":{"kernel_image_path":"/k"},"vsock":{"guest_cid":1,"uds_path":"/v"}})");
  EXPECT_THAT(result.error().text(), testing::StartsWith("vsock: "));
}

TEST(ConfigFile, RefusesUnknownSectionsAndFields) {
  EXPECT_THAT(
      parse_config_file(R"({"boot-source":{"kernel_image_path":"/k"},"gpu":{}})").error().text(),
      HasSubstr("`gpu`"));
  EXPECT_THAT(
      parse_config_file(R"({"boot-source":{"kernel_image_path":"/k","x":1}})").error().text(),
      HasSubstr("`x`"));
}

TEST(ConfigFile, SaysWhatIsNotSupported) {
  const auto result =
      parse_config_file(R"({"boot-source":{"kernel_image_path":"/k"},"cpu-config":"/c"})");
  EXPECT_EQ(result.error().code(), Errc::kUnsupported);
}

}  // namespace
}  // namespace mvm::vmm
