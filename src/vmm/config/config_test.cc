// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/config/vm_config.h"

namespace mvm::vmm {
namespace {

using testing::HasSubstr;

template <class T>
std::string message_of(const Result<T>& result) {
  return result ? "" : result.error().message();
}

TEST(MachineConfig, DefaultsAreValid) { EXPECT_TRUE(validate(MachineConfig{})); }

TEST(MachineConfig, TakesOneToThirtyTwoVcpus) {
  EXPECT_TRUE(validate(MachineConfig{.vcpu_count = 32}));
  EXPECT_THAT(message_of(validate(MachineConfig{.vcpu_count = 0})), HasSubstr("vCPU number"));
  EXPECT_THAT(message_of(validate(MachineConfig{.vcpu_count = 33})), HasSubstr("vCPU number"));
}

TEST(MachineConfig, WithSmtVcpusAreOneOrEven) {
  EXPECT_TRUE(validate(MachineConfig{.vcpu_count = 1, .smt = true}));
  EXPECT_TRUE(validate(MachineConfig{.vcpu_count = 4, .smt = true}));
  EXPECT_FALSE(validate(MachineConfig{.vcpu_count = 3, .smt = true}));
  EXPECT_TRUE(validate(MachineConfig{.vcpu_count = 3, .smt = false}));
}

TEST(MachineConfig, MemoryHasALowestAndALargestSize) {
  EXPECT_TRUE(validate(MachineConfig{.mem_size_mib = 1}));
  EXPECT_THAT(message_of(validate(MachineConfig{.mem_size_mib = 0})), HasSubstr("memory size"));
  EXPECT_TRUE(validate(MachineConfig{.mem_size_mib = kMaxMemoryMib}));
  EXPECT_FALSE(validate(MachineConfig{.mem_size_mib = kMaxMemoryMib + 1}));
}

TEST(MachineConfig, HugePagesNeedAnEvenSize) {
  EXPECT_FALSE(validate(MachineConfig{.mem_size_mib = 129, .huge_pages = HugePages::k2M}));
  EXPECT_TRUE(validate(MachineConfig{.mem_size_mib = 129}));
}

TEST(MachineConfig, AnUpdateChangesOnlyWhatItNames) {
  MachineConfigUpdate update;
  update.mem_size_mib = 512;
  const MachineConfig now{.vcpu_count = 2, .mem_size_mib = 256, .smt = true};
  const MachineConfig next = apply(update, now).value();
  EXPECT_EQ(next, (MachineConfig{.vcpu_count = 2, .mem_size_mib = 512, .smt = true}));
}

TEST(MachineConfig, AnUpdateIsCheckedWithWhatStays) {
  const MachineConfig now{.vcpu_count = 3};
  MachineConfigUpdate update;
  update.smt = true;
  EXPECT_FALSE(apply(update, now));
}

TEST(MachineConfig, AFullUpdateMakesTheSameConfiguration) {
  const MachineConfig config{.vcpu_count = 4,
                             .mem_size_mib = 64,
                             .smt = true,
                             .track_dirty_pages = true,
                             .huge_pages = HugePages::kTransparent};
  EXPECT_EQ(apply(full_update(config), MachineConfig{}).value(), config);
}

TEST(BootSource, RefusesAnEmptyPathAndArgumentsThatNoKernelTakes) {
  const BootSourceConfig good{.kernel_image_path = "/k", .initrd_path = {}, .boot_args = "quiet"};
  EXPECT_TRUE(validate(good));
  BootSourceConfig bad = good;
  bad.kernel_image_path = "";
  EXPECT_THAT(message_of(validate(bad)), HasSubstr("kernel_image_path"));
  bad = good;
  bad.kernel_image_path = std::string("/k\0x", 4);
  EXPECT_FALSE(validate(bad));
  bad = good;
  bad.boot_args = "a\nb";
  EXPECT_THAT(message_of(validate(bad)), HasSubstr("command line"));
  bad.boot_args = std::string(kMaxBootArgs + 1, 'a');
  EXPECT_FALSE(validate(bad));
  bad.boot_args = std::string(kMaxBootArgs, 'a');
  EXPECT_TRUE(validate(bad));
}

TEST(ResourceId, HasLettersDigitsAndUnderscores) {
  EXPECT_TRUE(validate_id("rootfs_1"));
  EXPECT_FALSE(validate_id(""));
  EXPECT_FALSE(validate_id("a-b"));
  EXPECT_FALSE(validate_id("a/b"));
  EXPECT_FALSE(validate_id("\xc3\xa4"));
  EXPECT_FALSE(validate_id(std::string(65, 'a')));
}

TEST(InstanceId, HasLettersDigitsAndHyphens) {
  EXPECT_TRUE(validate_instance_id("anonymous-instance"));
  EXPECT_FALSE(validate_instance_id(""));
  EXPECT_FALSE(validate_instance_id("a_b"));
  EXPECT_FALSE(validate_instance_id("../x"));
  EXPECT_FALSE(validate_instance_id(std::string(65, 'a')));
}

DriveConfig drive(const std::string& id, bool root = false) {
  DriveConfig out;
  out.drive_id = id;
  out.path_on_host = "/" + id;
  out.is_root_device = root;
  return out;
}

std::vector<std::string> ids_of(const std::vector<DriveConfig>& drives) {
  std::vector<std::string> out;
  for (const DriveConfig& each : drives) out.push_back(each.drive_id);
  return out;
}

TEST(Drives, TheRootDeviceComesFirst) {
  std::vector<DriveConfig> drives;
  ASSERT_TRUE(insert_drive(drives, drive("a")));
  ASSERT_TRUE(insert_drive(drives, drive("b")));
  ASSERT_TRUE(insert_drive(drives, drive("root", true)));
  EXPECT_THAT(ids_of(drives), testing::ElementsAre("root", "a", "b"));
}

TEST(Drives, TheSameIdReplacesInItsPlace) {
  std::vector<DriveConfig> drives{drive("root", true), drive("a"), drive("b")};
  DriveConfig changed = drive("a");
  changed.path_on_host = "/other";
  ASSERT_TRUE(insert_drive(drives, changed));
  EXPECT_THAT(ids_of(drives), testing::ElementsAre("root", "a", "b"));
  EXPECT_EQ(drives[1].path_on_host, "/other");
}

TEST(Drives, ThereIsOneRootDevice) {
  std::vector<DriveConfig> drives{drive("root", true), drive("a")};
  EXPECT_THAT(message_of(insert_drive(drives, drive("other", true))), HasSubstr("root"));
  EXPECT_FALSE(insert_drive(drives, drive("a", true)));
  EXPECT_TRUE(insert_drive(drives, drive("root", true)));
  EXPECT_EQ(drives.size(), 2U);
}

TEST(Drives, AnUpdatedDriveMayBecomeTheRootDevice) {
  std::vector<DriveConfig> drives{drive("a"), drive("b"), drive("c")};
  ASSERT_TRUE(insert_drive(drives, drive("c", true)));
  EXPECT_THAT(ids_of(drives), testing::ElementsAre("c", "a", "b"));
}

TEST(Drives, RefusesAPartuuidThatWouldChangeTheCommandLine) {
  DriveConfig config = drive("a");
  config.partuuid = "0eaa91a0-01";
  EXPECT_TRUE(validate(config));
  config.partuuid = "x init=/bin/sh";
  EXPECT_THAT(message_of(validate(config)), HasSubstr("partuuid"));
}

TEST(MacAddress, IsReadAndWritten) {
  const MacAddress mac = parse_mac("06:00:AC:10:00:02").value();
  EXPECT_EQ(format_mac(mac), "06:00:ac:10:00:02");
}

TEST(MacAddress, RefusesWhatIsNotSixPairs) {
  for (const std::string_view text :
       {"", "06:00:ac:10:00", "06:00:ac:10:00:02:03", "06-00-ac-10-00-02", "06:00:ac:10:00:0g",
        "6:00:ac:10:00:021", " 6:00:ac:10:00:02"})
    EXPECT_FALSE(parse_mac(text)) << text;
}

NetworkConfig tap(const std::string& id) {
  NetworkConfig out;
  out.iface_id = id;
  out.host_dev_name = "tap0";
  return out;
}

TEST(Network, HasExactlyOneHostSide) {
  EXPECT_TRUE(validate(tap("eth0")));
  NetworkConfig config = tap("eth0");
  config.socket_path = "/net.sock";
  EXPECT_THAT(message_of(validate(config)), HasSubstr("exactly one"));
  config.host_dev_name.reset();
  EXPECT_TRUE(validate(config));
  config.socket_path.reset();
  EXPECT_FALSE(validate(config));
  config.socket_fd = 3;
  EXPECT_TRUE(validate(config));
  config.socket_fd = 2;
  EXPECT_FALSE(validate(config));
}

TEST(Network, RefusesNamesThatNoDeviceHas) {
  for (const std::string name : {"", "sixteen_letters_", "a/b", "a b", "..", "a\n"}) {
    NetworkConfig config = tap("eth0");
    config.host_dev_name = name;
    EXPECT_FALSE(validate(config)) << name;
  }
}

TEST(Network, RefusesAGroupAddressAndASmallMtu) {
  NetworkConfig config = tap("eth0");
  config.guest_mac = parse_mac("01:00:5e:00:00:01").value();
  EXPECT_FALSE(validate(config));
  config = tap("eth0");
  config.mtu = 67;
  EXPECT_FALSE(validate(config));
  config.mtu = 68;
  EXPECT_TRUE(validate(config));
}

TEST(Network, AMacAddressIsUsedOnce) {
  std::vector<NetworkConfig> interfaces;
  NetworkConfig config = tap("eth0");
  config.guest_mac = parse_mac("06:00:ac:10:00:02").value();
  ASSERT_TRUE(insert_network(interfaces, config));
  config.iface_id = "eth1";
  EXPECT_THAT(message_of(insert_network(interfaces, config)), HasSubstr("06:00:ac:10:00:02"));
  config.iface_id = "eth0";
  EXPECT_TRUE(insert_network(interfaces, config));
  EXPECT_EQ(interfaces.size(), 1U);
}

TEST(Vsock, RefusesReservedContextIds) {
  for (const std::uint32_t cid : {0U, 1U, 2U, UINT32_MAX})
    EXPECT_FALSE(validate(VsockConfig{.guest_cid = cid, .uds_path = "/v"})) << cid;
  EXPECT_TRUE(validate(VsockConfig{.guest_cid = 3, .uds_path = "/v"}));
}

TEST(Vsock, LeavesRoomForAPortBehindThePath) {
  EXPECT_TRUE(validate(VsockConfig{.guest_cid = 3, .uds_path = std::string(96, 'a')}));
  EXPECT_FALSE(validate(VsockConfig{.guest_cid = 3, .uds_path = std::string(97, 'a')}));
  EXPECT_FALSE(validate(VsockConfig{.guest_cid = 3, .uds_path = ""}));
}

TEST(RateLimiter, RefusesBucketsThatOverflow) {
  const TokenBucketConfig full{.size = UINT64_MAX, .one_time_burst = 1, .refill_time_ms = 100};
  EXPECT_THAT(message_of(validate(RateLimiterConfig{.bandwidth = full, .ops = {}}, "rate_limiter")),
              HasSubstr("rate_limiter.bandwidth"));
  const TokenBucketConfig slow{.size = 1, .one_time_burst = {}, .refill_time_ms = UINT64_MAX};
  EXPECT_FALSE(validate(slow, "rate_limiter"));
}

TEST(RateLimiter, AnUpdateLeavesWhatIsAbsentAndTakesAwayWhatDoesNotLimit) {
  const TokenBucketConfig bucket{.size = 10, .one_time_burst = {}, .refill_time_ms = 100};
  const RateLimiterConfig now{.bandwidth = bucket, .ops = bucket};
  const RateLimiterConfig next = updated(now, {.bandwidth = TokenBucketConfig{}, .ops = {}});
  EXPECT_FALSE(next.bandwidth);
  EXPECT_EQ(next.ops, bucket);
}

TEST(Balloon, IsNotLargerThanTheMachine) {
  EXPECT_TRUE(validate_balloon_size(128, 128));
  EXPECT_FALSE(validate_balloon_size(129, 128));
}

TEST(Balloon, StatisticsAreNotTurnedOnOrOffLater) {
  const BalloonConfig without;
  const BalloonConfig with{.stats_polling_interval_s = 5};
  EXPECT_FALSE(apply(BalloonStatsUpdate{.stats_polling_interval_s = 1}, without));
  EXPECT_FALSE(apply(BalloonStatsUpdate{.stats_polling_interval_s = 0}, with));
  EXPECT_EQ(apply(BalloonStatsUpdate{.stats_polling_interval_s = 1}, with)
                .value()
                .stats_polling_interval_s,
            1);
}

TEST(Logger, LevelsHaveNoCase) {
  EXPECT_EQ(parse_log_level("WARNING").value(), LogLevel::kWarning);
  EXPECT_EQ(parse_log_level("warn").value(), LogLevel::kWarning);
  EXPECT_EQ(parse_log_level("Trace").value(), LogLevel::kTrace);
  EXPECT_FALSE(parse_log_level("loud"));
  EXPECT_EQ(log_level_name(LogLevel::kWarning), "Warn");
}

TEST(Mmds, AddressesAreDottedAndLinkLocal) {
  EXPECT_EQ(format_ipv4(parse_ipv4("169.254.1.2").value()), "169.254.1.2");
  for (const std::string_view text : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1..2.3", "01.2.3.4",
                                      "a.b.c.d", "1.2.3.4 ", "1.2.3."})
    EXPECT_FALSE(parse_ipv4(text)) << text;
  MmdsConfig config;
  config.network_interfaces = {"eth0"};
  EXPECT_TRUE(validate(config));
  for (const std::string_view text : {"10.0.0.1", "169.254.0.1", "169.254.255.1"}) {
    config.ipv4_address = parse_ipv4(text).value();
    EXPECT_THAT(message_of(validate(config)), HasSubstr("link local")) << text;
  }
}

TEST(Mmds, NamesInterfacesThatTheMachineHas) {
  MmdsConfig config;
  EXPECT_FALSE(validate(config));
  config.network_interfaces = {"eth0", "eth1"};
  EXPECT_THAT(message_of(validate(config, {tap("eth0")})), HasSubstr("eth1"));
  EXPECT_TRUE(validate(config, {tap("eth0"), tap("eth1")}));
}

TEST(Snapshot, StateAndMemoryAreTwoFiles) {
  SnapshotCreateConfig config;
  config.snapshot_path = "/s";
  config.mem_file_path = "/m";
  EXPECT_TRUE(validate(config));
  config.mem_file_path = "/s";
  EXPECT_FALSE(validate(config));
}

TEST(Snapshot, OverridesAreCheckedLikeWhatTheyReplace) {
  SnapshotLoadConfig config;
  config.snapshot_path = "/s";
  config.mem_backend.backend_path = "/m";
  EXPECT_TRUE(validate(config));
  SnapshotLoadConfig bad = config;
  bad.network_overrides.push_back(
      {.iface_id = "eth0", .host_dev_name = "a/b", .socket_path = {}, .socket_fd = {}});
  EXPECT_FALSE(validate(bad));
  bad = config;
  bad.vsock_override_uds = "";
  EXPECT_FALSE(validate(bad));
  bad = config;
  bad.huge_pages = HugePages::k2M;
  EXPECT_THAT(message_of(validate(bad)), HasSubstr("Uffd"));
}

}  // namespace
}  // namespace mvm::vmm
