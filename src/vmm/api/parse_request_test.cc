// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/parse_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mvm::vmm {
namespace {

using testing::HasSubstr;

template <class T>
T parsed(std::string_view method, std::string_view path, std::string_view body = "") {
  const Result<ParsedRequest> result = parse_request(method, path, body);
  EXPECT_TRUE(result) << (result ? "" : result.error().text());
  if (!result || !std::holds_alternative<T>(result->request)) {
    ADD_FAILURE() << method << " " << path << " gave another request";
    return T{};
  }
  return std::get<T>(result->request);
}

std::string refused(std::string_view method, std::string_view path, std::string_view body = "") {
  const Result<ParsedRequest> result = parse_request(method, path, body);
  return result ? "" : result.error().text();
}

bool deprecated(std::string_view method, std::string_view path, std::string_view body) {
  return parse_request(method, path, body).value().deprecated;
}

TEST(ParseRequest, KnowsEveryGet) {
  parsed<GetInstanceInfo>("GET", "/");
  parsed<GetVersion>("GET", "/version");
  parsed<GetVmConfig>("GET", "/vm/config");
  parsed<GetMachineConfig>("GET", "/machine-config");
  parsed<GetBalloon>("GET", "/balloon");
  parsed<GetBalloonStats>("GET", "/balloon/statistics");
  parsed<GetBalloonHinting>("GET", "/balloon/hinting/status");
  parsed<GetMmds>("GET", "/mmds");
}

TEST(ParseRequest, ReadsAMachineConfiguration) {
  const MachineConfig config =
      parsed<PutMachineConfig>("PUT", "/machine-config",
                               R"({"vcpu_count":2,"mem_size_mib":512,"smt":true,
                                   "track_dirty_pages":true,"huge_pages":"2M"})")
          .config;
  EXPECT_EQ(config, (MachineConfig{.vcpu_count = 2,
                                   .mem_size_mib = 512,
                                   .smt = true,
                                   .track_dirty_pages = true,
                                   .huge_pages = HugePages::k2M}));
}

TEST(ParseRequest, AMachineConfigurationIsValidatedAsAWhole) {
  EXPECT_THAT(refused("PUT", "/machine-config", R"({"vcpu_count":33,"mem_size_mib":1})"),
              HasSubstr("vCPU number"));
  EXPECT_THAT(refused("PUT", "/machine-config", R"({"vcpu_count":256,"mem_size_mib":1})"),
              HasSubstr("vcpu_count"));
  EXPECT_THAT(refused("PUT", "/machine-config", R"({"vcpu_count":1})"),
              HasSubstr("missing field `mem_size_mib`"));
  EXPECT_THAT(refused("PUT", "/machine-config", R"({"vcpu_count":1,"mem_size_mib":1,"smt":null})"),
              HasSubstr("smt"));
}

TEST(ParseRequest, OfTheCpuTemplatesOnlyNoneIsTaken) {
  const std::string body = R"({"vcpu_count":1,"mem_size_mib":1,"cpu_template":)";
  EXPECT_TRUE(deprecated("PUT", "/machine-config", body + R"("None"})"));
  EXPECT_FALSE(deprecated("PUT", "/machine-config", body + "null}"));
  EXPECT_EQ(parse_request("PUT", "/machine-config", body + R"("T2"})").error().code(),
            Errc::kUnsupported);
}

TEST(ParseRequest, APatchOfTheMachineNamesAtLeastOneField) {
  const auto update = parsed<PatchMachineConfig>("PATCH", "/machine-config", R"({"smt":true})");
  EXPECT_EQ(update.update.smt, true);
  EXPECT_FALSE(update.update.vcpu_count);
  EXPECT_THAT(refused("PATCH", "/machine-config", "{}"), HasSubstr("Empty PATCH request"));
}

TEST(ParseRequest, ReadsABootSource) {
  const BootSourceConfig config =
      parsed<PutBootSource>("PUT", "/boot-source",
                            R"({"kernel_image_path":"/k","initrd_path":null,"boot_args":"quiet"})")
          .config;
  EXPECT_EQ(config.kernel_image_path, "/k");
  EXPECT_FALSE(config.initrd_path);
  EXPECT_EQ(config.boot_args, "quiet");
}

TEST(ParseRequest, ReadsADriveWithEverything) {
  const DriveConfig config =
      parsed<PutDrive>("PUT", "/drives/root",
                       R"({"drive_id":"root","is_root_device":true,"path_on_host":"/d",
                           "is_read_only":true,"partuuid":"0eaa-01","cache_type":"Writeback",
                           "io_engine":"Async","rate_limiter":{"bandwidth":{"size":1000,
                           "one_time_burst":2000,"refill_time":100},"ops":null}})")
          .config;
  EXPECT_EQ(config.path_on_host, "/d");
  EXPECT_TRUE(config.is_root_device);
  EXPECT_TRUE(config.is_read_only);
  EXPECT_EQ(config.cache_type, CacheType::kWriteback);
  EXPECT_EQ(config.io_engine, IoEngine::kAsync);
  ASSERT_TRUE(config.rate_limiter);
  EXPECT_EQ(config.rate_limiter->bandwidth,
            (TokenBucketConfig{.size = 1000, .one_time_burst = 2000, .refill_time_ms = 100}));
  EXPECT_FALSE(config.rate_limiter->ops);
}

TEST(ParseRequest, TheIdOfThePathIsTheIdOfTheBody) {
  const std::string body = R"({"drive_id":"a","is_root_device":false,"path_on_host":"/d"})";
  EXPECT_THAT(refused("PUT", "/drives/b", body), HasSubstr("does not match"));
  EXPECT_THAT(refused("PUT", "/drives/", body), HasSubstr("ID cannot be empty"));
  EXPECT_THAT(refused("PUT", "/drives", body), HasSubstr("ID cannot be empty"));
  EXPECT_THAT(refused("PUT", "/drives/a-b", body), HasSubstr("underscores"));
  EXPECT_THAT(refused("PUT", "/drives/a/b", body), HasSubstr("Invalid request method and/or path"));
}

TEST(ParseRequest, RefusesADriveOfAnotherProcess) {
  EXPECT_EQ(
      parse_request("PUT", "/drives/a", R"({"drive_id":"a","is_root_device":false,"socket":"/s"})")
          .error()
          .code(),
      Errc::kUnsupported);
}

TEST(ParseRequest, NamesAnUnknownFieldOfARateLimiter) {
  EXPECT_THAT(refused("PATCH", "/drives/a",
                      R"({"drive_id":"a","rate_limiter":{"bandwidth":{"size":1,"refill_time":1,
                          "speed":9}}})"),
              HasSubstr("unknown field `speed`"));
}

TEST(ParseRequest, ReadsUpdatesOfDrivesAndInterfaces) {
  EXPECT_EQ(parsed<PatchDrive>("PATCH", "/drives/a", R"({"drive_id":"a","path_on_host":"/e"})")
                .update.path_on_host,
            "/e");
  const NetworkUpdate update =
      parsed<PatchNetwork>(
          "PATCH", "/network-interfaces/eth0",
          R"({"iface_id":"eth0","rx_rate_limiter":{"ops":{"size":1,"refill_time":2}}})")
          .update;
  EXPECT_EQ(update.rx_rate_limiter->ops->refill_time_ms, 2U);
  EXPECT_FALSE(update.tx_rate_limiter);
}

TEST(ParseRequest, ReadsAnInterfaceOnATap) {
  const NetworkConfig config = parsed<PutNetwork>("PUT", "/network-interfaces/eth0",
                                                  R"({"iface_id":"eth0","host_dev_name":"tap0",
                             "guest_mac":"06:00:AC:10:00:02","mtu":1400})")
                                   .config;
  EXPECT_EQ(config.host_dev_name, "tap0");
  EXPECT_EQ(format_mac(config.guest_mac.value()), "06:00:ac:10:00:02");
  EXPECT_EQ(config.mtu, 1400);
}

TEST(ParseRequest, ReadsAnInterfaceOnAStream) {
  EXPECT_EQ(parsed<PutNetwork>("PUT", "/network-interfaces/eth0",
                               R"({"iface_id":"eth0","socket_path":"/n"})")
                .config.socket_path,
            "/n");
  EXPECT_EQ(
      parsed<PutNetwork>("PUT", "/network-interfaces/eth0", R"({"iface_id":"eth0","socket_fd":5})")
          .config.socket_fd,
      5);
}

TEST(ParseRequest, AnInterfaceWithoutAHostSideMissesFirecrackersField) {
  EXPECT_THAT(refused("PUT", "/network-interfaces/eth0", R"({"iface_id":"eth0"})"),
              HasSubstr("missing field `host_dev_name`"));
}

TEST(ParseRequest, RefusesMalformedMacAndMtu) {
  EXPECT_THAT(refused("PUT", "/network-interfaces/e",
                      R"({"iface_id":"e","host_dev_name":"t","guest_mac":"zz"})"),
              HasSubstr("MAC"));
  EXPECT_THAT(refused("PUT", "/network-interfaces/e",
                      R"({"iface_id":"e","host_dev_name":"t","mtu":65536})"),
              HasSubstr("mtu"));
}

TEST(ParseRequest, ReadsVsockWithItsDeprecatedId) {
  const std::string_view body = R"({"vsock_id":"v","guest_cid":3,"uds_path":"/v"})";
  EXPECT_EQ(parsed<PutVsock>("PUT", "/vsock", body).config.guest_cid, 3U);
  EXPECT_TRUE(deprecated("PUT", "/vsock", body));
  EXPECT_FALSE(deprecated("PUT", "/vsock", R"({"guest_cid":3,"uds_path":"/v"})"));
  EXPECT_THAT(refused("PUT", "/vsock", R"({"guest_cid":2,"uds_path":"/v"})"),
              HasSubstr("guest_cid"));
}

TEST(ParseRequest, ReadsEntropyAndSerial) {
  EXPECT_FALSE(parsed<PutEntropy>("PUT", "/entropy", "{}").config.rate_limiter);
  const SerialConfig serial =
      parsed<PutSerial>("PUT", "/serial",
                        R"({"serial_out_path":"/o","rate_limiter":{"size":9,"refill_time":1}})")
          .config;
  EXPECT_EQ(serial.serial_out_path, "/o");
  EXPECT_EQ(serial.rate_limiter->size, 9U);
}

TEST(ParseRequest, ReadsTheBalloonAndItsUpdates) {
  const BalloonConfig config =
      parsed<PutBalloon>("PUT", "/balloon",
                         R"({"amount_mib":64,"deflate_on_oom":true,"stats_polling_interval_s":1,
                             "free_page_reporting":true})")
          .config;
  EXPECT_EQ(config.amount_mib, 64U);
  EXPECT_TRUE(config.free_page_reporting);
  EXPECT_EQ(parsed<PatchBalloon>("PATCH", "/balloon", R"({"amount_mib":8})").update.amount_mib, 8U);
  EXPECT_EQ(
      parsed<PatchBalloonStats>("PATCH", "/balloon/statistics", R"({"stats_polling_interval_s":2})")
          .update.stats_polling_interval_s,
      2);
  EXPECT_THAT(refused("PUT", "/balloon", R"({"amount_mib":64})"), HasSubstr("deflate_on_oom"));
}

TEST(ParseRequest, HintingStartsWithOrWithoutABody) {
  EXPECT_TRUE(
      parsed<StartBalloonHinting>("PATCH", "/balloon/hinting/start").start.acknowledge_on_stop);
  EXPECT_FALSE(parsed<StartBalloonHinting>("PATCH", "/balloon/hinting/start",
                                           R"({"acknowledge_on_stop":false})")
                   .start.acknowledge_on_stop);
  parsed<StopBalloonHinting>("PATCH", "/balloon/hinting/stop");
}

TEST(ParseRequest, ReadsLoggerAndMetrics) {
  const LoggerConfig logger =
      parsed<PutLogger>("PUT", "/logger",
                        R"({"log_path":"/l","level":"warning","show_level":true})")
          .config;
  EXPECT_EQ(logger.level, LogLevel::kWarning);
  EXPECT_EQ(logger.show_level, true);
  EXPECT_THAT(refused("PUT", "/logger", R"({"level":"loud"})"), HasSubstr("loud"));
  const MetricsConfig metrics =
      parsed<PutMetrics>("PUT", "/metrics",
                         R"({"metrics_path":"/m","emit_id":true,"properties":{"a":"b"}})")
          .config;
  EXPECT_EQ(metrics.metrics_path, "/m");
  EXPECT_EQ(metrics.properties.at("a"), "b");
}

TEST(ParseRequest, ReadsActionsAndStates) {
  parsed<StartInstance>("PUT", "/actions", R"({"action_type":"InstanceStart"})");
  parsed<FlushMetrics>("PUT", "/actions", R"({"action_type":"FlushMetrics"})");
  parsed<SendCtrlAltDel>("PUT", "/actions", R"({"action_type":"SendCtrlAltDel"})");
  EXPECT_THAT(refused("PUT", "/actions", R"({"action_type":"Explode"})"),
              HasSubstr("unknown variant `Explode`"));
  parsed<PauseVm>("PATCH", "/vm", R"({"state":"Paused"})");
  parsed<ResumeVm>("PATCH", "/vm", R"({"state":"Resumed"})");
  EXPECT_THAT(refused("PATCH", "/vm", R"({"state":"Running"})"), HasSubstr("`Running`"));
}

TEST(ParseRequest, ReadsSnapshotRequests) {
  EXPECT_EQ(parsed<PutSnapshotCreate>("PUT", "/snapshot/create",
                                      R"({"snapshot_path":"/s","mem_file_path":"/m",
                                          "snapshot_type":"Diff"})")
                .config.snapshot_type,
            SnapshotType::kDiff);
  const SnapshotLoadConfig load =
      parsed<PutSnapshotLoad>(
          "PUT", "/snapshot/load",
          R"({"snapshot_path":"/s","mem_backend":{"backend_type":"Uffd","backend_path":"/u"},
              "resume_vm":true,"network_overrides":[{"iface_id":"e","host_dev_name":"t"},
              {"iface_id":"f","socket_fd":4}],"vsock_override":{"uds_path":"/v"},
              "drive_overrides":[{"drive_id":"root","path_on_host":"/d"}],
              "clock_realtime":true,"huge_pages":"None"})")
          .config;
  EXPECT_EQ(load.mem_backend.backend_type, MemoryBackendType::kUffd);
  EXPECT_TRUE(load.resume_vm);
  ASSERT_EQ(load.network_overrides.size(), 2U);
  EXPECT_EQ(load.network_overrides[1].socket_fd, 4);
  EXPECT_EQ(load.vsock_override_uds, "/v");
  EXPECT_EQ(load.drive_overrides.at(0).path_on_host, "/d");
  EXPECT_TRUE(load.clock_realtime);
  EXPECT_EQ(load.huge_pages, HugePages::kNone);
}

TEST(ParseRequest, DeprecatedSnapshotFieldsBecomeTheNewOnes) {
  const std::string_view body =
      R"({"snapshot_path":"/s","mem_file_path":"/m","enable_diff_snapshots":true})";
  const SnapshotLoadConfig load = parsed<PutSnapshotLoad>("PUT", "/snapshot/load", body).config;
  EXPECT_EQ(load.mem_backend, (MemoryBackend{MemoryBackendType::kFile, "/m"}));
  EXPECT_TRUE(load.track_dirty_pages);
  EXPECT_FALSE(load.huge_pages);
  EXPECT_TRUE(deprecated("PUT", "/snapshot/load", body));
}

TEST(ParseRequest, ASnapshotHasExactlyOneMemory) {
  EXPECT_THAT(refused("PUT", "/snapshot/load", R"({"snapshot_path":"/s"})"),
              HasSubstr("either `mem_backend` or `mem_file_path` is required"));
  EXPECT_THAT(refused("PUT", "/snapshot/load",
                      R"({"snapshot_path":"/s","mem_file_path":"/m",
                          "mem_backend":{"backend_type":"File","backend_path":"/m"}})"),
              HasSubstr("too many fields"));
}

TEST(ParseRequest, ReadsMetadataAndItsConfiguration) {
  EXPECT_EQ(parsed<PutMmds>("PUT", "/mmds", R"({ "a" : {"b":1} })").json, R"({"a":{"b":1}})");
  EXPECT_EQ(parsed<PatchMmds>("PATCH", "/mmds", R"({"a":null})").json, R"({"a":null})");
  const std::string_view v2 = R"({"version":"V2","network_interfaces":["eth0"],
                                  "ipv4_address":"169.254.1.1","imds_compat":true})";
  const MmdsConfig config = parsed<PutMmdsConfig>("PUT", "/mmds/config", v2).config;
  EXPECT_EQ(config.version, MmdsVersion::kV2);
  EXPECT_EQ(format_ipv4(config.address()), "169.254.1.1");
  EXPECT_FALSE(deprecated("PUT", "/mmds/config", v2));
  EXPECT_TRUE(deprecated("PUT", "/mmds/config", R"({"network_interfaces":["eth0"]})"));
  EXPECT_THAT(refused("PUT", "/mmds/config", R"({"network_interfaces":[]})"), HasSubstr("empty"));
}

TEST(ParseRequest, BodiesComeWithTheRightMethods) {
  EXPECT_EQ(refused("GET", "/version", "{}"), "GET request cannot have a body.");
  EXPECT_EQ(refused("PUT", "/vsock"), "Empty PUT request.");
  EXPECT_EQ(refused("PATCH", "/vm"), "Empty PATCH request.");
}

TEST(ParseRequest, UnknownPathsAndMethodsAreNamed) {
  EXPECT_EQ(refused("GET", "/nothing"), "Invalid request method and/or path: GET /nothing.");
  EXPECT_EQ(refused("PATCH", "/vsock", "{}"), "Invalid request method and/or path: PATCH /vsock.");
  EXPECT_THAT(refused("GET", "/version/more"), HasSubstr("Invalid request"));
  EXPECT_THAT(refused("POST", "/actions", "{}"), HasSubstr("POST /actions"));
  EXPECT_THAT(refused("GET", ""), HasSubstr("Invalid request"));
}

TEST(ParseRequest, ASlashAtTheEndAndAnAuthorityDoNotMatter) {
  parsed<GetVersion>("GET", "/version/");
  parsed<GetVersion>("GET", "http://localhost/version");
  parsed<GetInstanceInfo>("GET", "http://localhost");
}

TEST(ParseRequest, SaysWhatThisMonitorDoesNotSupport) {
  for (const auto& [method, path] : {std::pair{"PUT", "/cpu-config"},
                                     {"PUT", "/pmem/a"},
                                     {"PUT", "/hotplug/memory"},
                                     {"GET", "/hotplug/memory"},
                                     {"DELETE", "/drives/a"}}) {
    const Result<ParsedRequest> result = parse_request(method, path, "");
    ASSERT_FALSE(result) << path;
    EXPECT_EQ(result.error().code(), Errc::kUnsupported) << path;
  }
}

TEST(CheckAllowed, ConfigurationIsForBeforeTheStart) {
  const ApiRequest request = PutMachineConfig{};
  EXPECT_TRUE(check_allowed(request, VmState::kNotStarted));
  EXPECT_THAT(check_allowed(request, VmState::kPaused).error().message(),
              HasSubstr("not supported after starting the microVM"));
  EXPECT_FALSE(check_allowed(StartInstance{}, VmState::kRunning));
}

TEST(CheckAllowed, StateChangesAreForAfterTheStart) {
  EXPECT_THAT(check_allowed(PauseVm{}, VmState::kNotStarted).error().message(),
              HasSubstr("not supported before starting the microVM"));
  EXPECT_TRUE(check_allowed(PauseVm{}, VmState::kRunning));
}

TEST(CheckAllowed, QuestionsAreAlwaysAllowed) {
  EXPECT_TRUE(check_allowed(GetVmConfig{}, VmState::kNotStarted));
  EXPECT_TRUE(check_allowed(GetVmConfig{}, VmState::kRunning));
  EXPECT_TRUE(check_allowed(PutMmds{}, VmState::kRunning));
}

TEST(ConfiguresBoot, KnowsWhatASnapshotBringsItself) {
  EXPECT_TRUE(configures_boot(PutDrive{}));
  EXPECT_FALSE(configures_boot(PutLogger{}));
  EXPECT_FALSE(configures_boot(PutMetrics{}));
}

}  // namespace
}  // namespace mvm::vmm
