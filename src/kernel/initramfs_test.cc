// SPDX-License-Identifier: Apache-2.0
#include "kernel/initramfs.h"

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "kernel/testing_kernels.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::kernel {
namespace {

using namespace testing_kernels;
using testing::HasSubstr;

// A kernel whose modules are tiny ELF files.
class InitramfsTest : public testing::Test {
 protected:
  void SetUp() override {
    kernel_.digest = std::string(64, 'd');
    kernel_.release = "6.1.0-test";
    kernel_.modules_dir = dir_.path() + "/mods";
    std::string dep;
    for (const std::string name :
         {"virtio_mmio", "virtio_console", "virtio_blk", "erofs", "overlay", "virtio_net"}) {
      dep += "k/" + name + ".ko:\n";
      write("mods/k/" + name + ".ko", make_elf() + name);
    }
    write("mods/modules.dep", dep);
    write("mods/modules.builtin", "");
    write("agent", "agent one");
  }

  void write(const std::string& name, const std::string& text) {
    const std::string path = dir_.path() + "/" + name;
    ASSERT_TRUE(sys::make_dirs(path.substr(0, path.find_last_of('/'))));
    ASSERT_TRUE(sys::write_file(path, text));
  }

  Result<std::string> make() {
    return initramfs_for(kernel_, dir_.path() + "/agent", dir_.path() + "/cache");
  }

  sys::TempDir dir_ = *sys::TempDir::create("/tmp", "mvm-initramfs-");
  Kernel kernel_;
};

// "mode path size" of every entry, and the content of one.
std::string listing(const std::string& path, const std::string& wanted, std::string& content) {
  std::string out;
  archive* a = archive_read_new();
  archive_read_support_format_cpio(a);
  archive_read_open_filename(a, path.c_str(), 65536);
  archive_entry* entry = nullptr;
  while (archive_read_next_header(a, &entry) == ARCHIVE_OK) {
    const std::string name = archive_entry_pathname(entry);
    char line[256];
    std::snprintf(line, sizeof line, "%o %s %lld\n", archive_entry_mode(entry), name.c_str(),
                  static_cast<long long>(archive_entry_size(entry)));
    out += line;
    std::string data(static_cast<std::size_t>(archive_entry_size(entry)), '\0');
    archive_read_data(a, data.data(), data.size());
    if (name == wanted) content = data;
  }
  archive_read_free(a);
  return out;
}

TEST_F(InitramfsTest, HoldsAgentModulesAndOrder) {
  const auto path = make();
  ASSERT_TRUE(path) << path.error().text();
  std::string order;
  const std::string list = listing(*path, "modules/order", order);
  EXPECT_THAT(list, HasSubstr("40755 newroot 0\n"));
  EXPECT_THAT(list, HasSubstr("100755 init 9\n"));
  EXPECT_THAT(list, HasSubstr("100644 modules/00-virtio_mmio.ko"));
  EXPECT_EQ(
      order,
      "boot 00-virtio_mmio.ko\nboot 01-virtio_console.ko\nboot 02-virtio_blk.ko\nboot 03-erofs.ko\n"
      "boot 04-overlay.ko\nnet 05-virtio_net.ko\n");
}

TEST_F(InitramfsTest, SecondCallFindsTheFirstFile) {
  const std::string first = *make();
  ASSERT_TRUE(sys::remove_tree(kernel_.modules_dir));
  EXPECT_EQ(*make(), first);
}

TEST_F(InitramfsTest, NewAgentMakesANewFile) {
  const std::string first = *make();
  write("agent", "agent two");
  EXPECT_NE(*make(), first);
}

TEST_F(InitramfsTest, SameInputGivesTheSameBytes) {
  const std::string first = *sys::read_file(*make());
  ASSERT_TRUE(sys::remove_tree(dir_.path() + "/cache"));
  EXPECT_EQ(*sys::read_file(*make()), first);
}

TEST_F(InitramfsTest, KernelWithoutModulesHasAnEmptyOrder) {
  kernel_.modules_dir.clear();
  std::string order = "?";
  EXPECT_THAT(listing(*make(), "modules/order", order), HasSubstr("modules/order 0\n"));
  EXPECT_EQ(order, "");
}

TEST_F(InitramfsTest, CompressedModuleIsUnpacked) {
  write("mods/k/overlay.ko.gz", gzip(make_elf() + "packed"));
  std::string dep = *sys::read_file(kernel_.modules_dir + "/modules.dep");
  dep.replace(dep.find("k/overlay.ko"), 12, "k/overlay.ko.gz");
  write("mods/modules.dep", dep);
  std::string module;
  listing(*make(), "modules/04-overlay.ko", module);
  EXPECT_EQ(module, make_elf() + "packed");
}

TEST_F(InitramfsTest, ModuleThatIsNoElfIsCorrupt) {
  write("mods/k/erofs.ko", "nonsense");
  EXPECT_EQ(make().error().code(), Errc::kCorrupt);
}

TEST_F(InitramfsTest, MissingAgentIsNamed) {
  ASSERT_TRUE(sys::remove_tree(dir_.path() + "/agent"));
  const auto path = make();
  EXPECT_EQ(path.error().code(), Errc::kNotFound);
  EXPECT_THAT(path.error().text(), HasSubstr("guest agent " + dir_.path() + "/agent"));
}

TEST_F(InitramfsTest, ManyAtOnceAgreeAndLeaveOneFile) {
  std::vector<std::thread> threads;
  std::vector<std::string> paths(8);
  for (std::string& path : paths)
    threads.emplace_back([this, &path] { path = make().value_or("failed"); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(paths, testing::Each(paths.front()));
  EXPECT_TRUE(sys::path_exists(paths.front()));
  EXPECT_EQ(::unlink(paths.front().c_str()), 0);
  EXPECT_EQ(::rmdir((dir_.path() + "/cache/initramfs").c_str()), 0) << "temporary files were left";
}

}  // namespace
}  // namespace mvm::kernel
