// SPDX-License-Identifier: Apache-2.0
#include "build/memory_dir.h"

#include <gmock/gmock.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sys/files.h"
#include "sys/io.h"

namespace mvm::build {
namespace {

TEST(MemoryToSpare, IsAQuarterOfWhatIsAvailable) {
  EXPECT_EQ(memory_to_spare("MemTotal: 9999999 kB\nMemAvailable:    400000 kB\n"),
            kibibytes(100'000));
  EXPECT_EQ(memory_to_spare("MemAvailable: 99999999999 kB\n"), gibibytes(2));
  EXPECT_EQ(memory_to_spare("MemAvailable:"), Bytes{});
  EXPECT_EQ(memory_to_spare(""), Bytes{});
}

TEST(MemoryLimit, StandsInTheGroupsOfEitherVersionAndInAContainersRoot) {
  EXPECT_THAT(memory_limit_files("5:memory:/a/b\n3:cpu,cpuacct:/c\n0::/user.slice\n"),
              testing::ElementsAre("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                                   "/sys/fs/cgroup/memory.max",
                                   "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                                   "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                                   "/sys/fs/cgroup/user.slice/memory.max"));
  EXPECT_EQ(memory_limit_files("garbage\n:\n").size(), 2U);
}

TEST(MemoryDir, IsGoneAfterItsUse) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounts are root's";
  const sys::TempDir dir = sys::TempDir::create("/tmp", "mvm-build-").value();
  const std::string path = dir.path() + "/memory";
  EXPECT_FALSE(MemoryDir::mount(path, gibibytes(1024)));
  auto memory = MemoryDir::mount(path, kibibytes(1));
  if (!memory) GTEST_SKIP() << "nothing can be mounted here";
  ASSERT_TRUE(sys::write_file(path + "/file", "text"));
  struct statfs fs;
  ASSERT_EQ(::statfs(path.c_str(), &fs), 0);
  EXPECT_EQ(fs.f_type, TMPFS_MAGIC);
  memory.reset();
  EXPECT_TRUE(sys::path_exists(path));
  EXPECT_FALSE(sys::path_exists(path + "/file"));
}

}  // namespace
}  // namespace mvm::build
