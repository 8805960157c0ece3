// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/boot/cmdline.h"
#include "agent/boot/configure.h"
#include "agent/boot/modules.h"
#include "agent/boot/mounts.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::agent {
namespace {

TEST(Cmdline, TakesOnlyItsOwnWords) {
  const BootOptions options =
      parse_cmdline("console=ttyS0 quiet mvm.scratch=1 panic=-1 mvm.traceX=1\n");
  EXPECT_TRUE(options.scratch);
  EXPECT_FALSE(options.trace);
}

TEST(Cmdline, LastOfEqualWordsCounts) {
  EXPECT_FALSE(parse_cmdline("mvm.scratch=1 mvm.scratch=0").scratch);
}

TEST(Cmdline, TellsThePortOfTheHost) {
  EXPECT_EQ(parse_cmdline("mvm.vsock=5252").vsock_port, 5252U);
  EXPECT_EQ(parse_cmdline("mvm.vsock=5x mvm.trace=1").vsock_port, 0U);
  EXPECT_EQ(parse_cmdline("mvm.vsock=99999999999").vsock_port, 0U);
}

TEST(Cmdline, TellsWhatMarksTheDisks) {
  EXPECT_EQ(parse_cmdline("mvm.vsock=1").disks, DiskMark::kSerial);
  EXPECT_EQ(parse_cmdline("mvm.disks=access").disks, DiskMark::kAccess);
}

TEST(Cmdline, WordWithoutValueIsNothing) {
  EXPECT_FALSE(parse_cmdline("mvm.scratch mvm.trace=").scratch);
}

TEST(Modules, OrderListsGroupAndFile) {
  const auto order = parse_module_order("boot virtio.ko\n\nnet virtio_net.ko\n").value();
  ASSERT_EQ(order.size(), 2U);
  EXPECT_EQ(order[1].group, "net");
  EXPECT_EQ(order[1].file, "virtio_net.ko");
}

TEST(Modules, LineWithoutGroupIsNamed) {
  EXPECT_THAT(parse_module_order("virtio.ko\n").error().text(), testing::HasSubstr("'virtio.ko'"));
  EXPECT_FALSE(parse_module_order("boot ../x.ko\n"));
}

TEST(Hosts, MissingFileGetsLocalhostAndTheName) {
  EXPECT_EQ(hosts_text("", "web"),
            "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 web\n");
}

TEST(Hosts, ImagesOwnFileIsKeptAndCompleted) {
  EXPECT_EQ(hosts_text("10.1.1.1 db", "web"), "10.1.1.1 db\n127.0.1.1 web\n");
  EXPECT_EQ(hosts_text("10.1.1.1\tdb web", "web"), "10.1.1.1\tdb web");
  EXPECT_THAT(hosts_text("10.1.1.1 web2\n", "web"), testing::EndsWith("127.0.1.1 web\n"));
}

TEST(Hosts, ARestoredMachineLosesTheNameOfTheSavedOneAndNothingElse) {
  EXPECT_EQ(without_host("10.1.1.1 db\n127.0.1.1 web\n10.1.1.2 web\n", "web"),
            "10.1.1.1 db\n10.1.1.2 web\n");
  EXPECT_EQ(without_host("127.0.1.1 web2\n", "web"), "127.0.1.1 web2\n");
  EXPECT_EQ(without_host("127.0.1.1 web\n", ""), "127.0.1.1 web\n");
}

TEST(ResolvConf, ListsServersAndDropsWhatIsNoAddress) {
  EXPECT_EQ(resolv_conf_text({"10.0.2.3", "x\noptions evil", "fec0::3"}),
            "nameserver 10.0.2.3\nnameserver fec0::3\n");
}

TEST(Disks, AreFoundBySerialWhateverTheirOrder) {
  const auto dir = sys::TempDir::create("/tmp", "agent-").value();
  ASSERT_TRUE(sys::make_dirs(dir.path() + "/vda"));
  ASSERT_TRUE(sys::make_dirs(dir.path() + "/vdb"));
  ASSERT_TRUE(sys::write_file(dir.path() + "/vda/serial", "mvm_scratch"));
  ASSERT_TRUE(sys::write_file(dir.path() + "/vdb/serial", "mvm_root\n"));
  const auto found = [&](const char* role) {
    return find_disk(dir.path(), role, DiskMark::kSerial);
  };
  EXPECT_EQ(found("mvm_root").value(), "/dev/vdb");
  EXPECT_EQ(found("mvm_scratch").value(), "/dev/vda");
  EXPECT_THAT(found("other").error().text(), testing::HasSubstr("no disk other"));
}

TEST(Disks, AreFoundByAccessWhereNoSerialIsOurs) {
  const auto dir = sys::TempDir::create("/tmp", "agent-").value();
  for (const auto& [name, ro] : {std::pair("vda", "0\n"), std::pair("vdb", "1\n")}) {
    ASSERT_TRUE(sys::make_dirs(dir.path() + "/" + name));
    ASSERT_TRUE(sys::write_file(dir.path() + "/" + name + "/ro", ro));
    ASSERT_TRUE(sys::write_file(dir.path() + "/" + name + "/serial", "26521061"));
  }
  EXPECT_EQ(find_disk(dir.path(), "mvm_root", DiskMark::kAccess).value(), "/dev/vdb");
  EXPECT_EQ(find_disk(dir.path(), "mvm_scratch", DiskMark::kAccess).value(), "/dev/vda");
}

}  // namespace
}  // namespace mvm::agent
