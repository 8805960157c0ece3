// SPDX-License-Identifier: Apache-2.0
#include "kernel/modules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernel/initramfs.h"

namespace mvm::kernel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kDebianDep =
    "kernel/fs/overlayfs/overlay.ko:\n"
    "kernel/lib/libcrc32c.ko:\n"
    "kernel/fs/erofs/erofs.ko: kernel/lib/libcrc32c.ko\n"
    "kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko\n"
    "kernel/drivers/virtio/virtio_ring.ko:\n"
    "kernel/drivers/virtio/virtio_mmio.ko: kernel/drivers/virtio/virtio.ko "
    "kernel/drivers/virtio/virtio_ring.ko\n"
    "kernel/drivers/char/virtio_console.ko: kernel/drivers/virtio/virtio.ko "
    "kernel/drivers/virtio/virtio_ring.ko\n"
    "kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko "
    "kernel/drivers/virtio/virtio_ring.ko\n"
    "kernel/net/core/failover.ko:\n"
    "kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko\n"
    "kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko "
    "kernel/net/core/failover.ko "
    "kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko\n"
    "kernel/drivers/md/dm-verity.ko:\n";

std::vector<std::string> names(const std::vector<ModuleFile>& files) {
  std::vector<std::string> out;
  for (const ModuleFile& file : files) out.push_back(file.name);
  return out;
}

std::string parse_error(std::string_view dep, std::string_view builtin = "") {
  const auto index = parse_modules(dep, builtin);
  return index ? "no error" : index.error().text();
}

TEST(Modules, DependenciesComeFirst) {
  const auto index = parse_modules(kDebianDep, "");
  const auto files = resolve(*index, {"virtio_mmio"});
  EXPECT_THAT(names(*files), ElementsAre("virtio_ring", "virtio", "virtio_mmio"));
}

TEST(Modules, SharedDependencyIsLoadedOnce) {
  const auto index = parse_modules(kDebianDep, "");
  const auto files = resolve(*index, {"virtio_blk", "virtio_console"});
  EXPECT_THAT(names(*files), ElementsAre("virtio_ring", "virtio", "virtio_blk", "virtio_console"));
}

TEST(Modules, BuiltInIsSkipped) {
  const auto index = parse_modules("", "kernel/fs/ext4/ext4.ko\n");
  EXPECT_THAT(names(*resolve(*index, {"ext4"})), ElementsAre());
}

TEST(Modules, BuiltInDependencyIsSkipped) {
  const auto index = parse_modules("kernel/a.ko: kernel/b.ko\n", "kernel/b.ko\n");
  EXPECT_THAT(names(*resolve(*index, {"a"})), ElementsAre("a"));
}

TEST(Modules, UnknownModuleIsNamed) {
  const auto files = resolve(*parse_modules(kDebianDep, ""), {"zfs"});
  ASSERT_FALSE(files);
  EXPECT_EQ(files.error().code(), Errc::kNotFound);
  EXPECT_THAT(files.error().text(), HasSubstr("'zfs'"));
}

TEST(Modules, DashAndUnderscoreAreTheSame) {
  const auto index = parse_modules(kDebianDep, "");
  EXPECT_THAT(names(*resolve(*index, {"dm-verity"})), ElementsAre("dm_verity"));
  EXPECT_THAT(names(*resolve(*index, {"dm_verity"})), ElementsAre("dm_verity"));
}

TEST(Modules, CompressedSuffixIsNoPartOfTheName) {
  EXPECT_EQ(module_name("kernel/fs/erofs/erofs.ko.xz"), "erofs");
}

TEST(Modules, LoopIsCorrupt) {
  const auto files = resolve(*parse_modules("k/a.ko: k/b.ko\nk/b.ko: k/a.ko\n", ""), {"a"});
  ASSERT_FALSE(files);
  EXPECT_EQ(files.error().code(), Errc::kCorrupt);
}

TEST(Modules, EndlessChainIsCorrupt) {
  std::string dep;
  for (int i = 0; i < 5000; ++i)
    dep += "k/m" + std::to_string(i) + ".ko: k/m" + std::to_string(i + 1) + ".ko\n";
  const auto files = resolve(*parse_modules(dep, "k/m5000.ko\n"), {"m0"});
  ASSERT_FALSE(files);
  EXPECT_EQ(files.error().code(), Errc::kCorrupt);
}

TEST(Modules, RefusesPathThatClimbsOut) {
  EXPECT_THAT(parse_error("k/ok.ko:\n../../etc/evil.ko:\n"), HasSubstr("modules.dep line 2"));
  EXPECT_THAT(parse_error("kernel/../../evil.ko:\n"), HasSubstr("no module path"));
}

TEST(Modules, RefusesAbsolutePath) {
  EXPECT_THAT(parse_error("/etc/evil.ko:\n"), HasSubstr("no module path"));
}

TEST(Modules, RefusesDependencyThatClimbsOut) {
  EXPECT_THAT(parse_error("k/a.ko: ../b.ko\n"), HasSubstr("dependency"));
}

TEST(Modules, RefusesLineWithoutColon) {
  EXPECT_THAT(parse_error("kernel/a.ko\n"), HasSubstr("no colon"));
}

TEST(Modules, RefusesControlCharacters) {
  EXPECT_THAT(parse_error("kernel/a\x01.ko:\n"), HasSubstr("no module path"));
}

TEST(Modules, RefusesModuleListedTwice) {
  EXPECT_THAT(parse_error("k/a.ko:\nl/a.ko:\n"), HasSubstr("twice"));
}

TEST(Modules, RefusesBadBuiltinLine) {
  EXPECT_THAT(parse_error("", "/x.ko\n"), HasSubstr("modules.builtin line 1"));
}

TEST(InitramfsPlan, LoadsVirtioRingFirstAndNetworkLast) {
  const auto plan = plan_modules(*parse_modules(kDebianDep, ""));
  std::string order;
  for (const InitramfsModule& module : *plan) order += module.group + " " + module.name + "\n";
  EXPECT_EQ(order,
            "boot 00-virtio_ring.ko\nboot 01-virtio.ko\nboot 02-virtio_mmio.ko\nboot "
            "03-virtio_console.ko\n"
            "boot 04-virtio_blk.ko\nboot 05-libcrc32c.ko\nboot 06-erofs.ko\nboot 07-overlay.ko\n"
            "net 08-failover.ko\nnet 09-net_failover.ko\nnet 10-virtio_net.ko\n");
}

TEST(InitramfsPlan, NamesTheModuleThatIsMissing) {
  const auto plan = plan_modules(*parse_modules("k/virtio_mmio.ko:\n", ""));
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().text(), HasSubstr("'virtio_console'"));
}

}  // namespace
}  // namespace mvm::kernel
