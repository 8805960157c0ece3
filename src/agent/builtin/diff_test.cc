// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "agent/builtin/builtins.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::agent::builtin {
namespace {

using testing::ElementsAre;

class Diff : public testing::Test {
 protected:
  sys::TempDir dir_ = sys::TempDir::create("/tmp", "agent-").value();

  void SetUp() override {
    make("lower/etc/passwd", "root");
    make("lower/usr/bin/tool", "x");
    (void)sys::make_dirs(dir_.path() + "/upper", 0755);
  }
  void make(const std::string& name, const std::string& text) {
    const std::string path = dir_.path() + "/" + name;
    (void)sys::make_dirs(path.substr(0, path.find_last_of('/')), 0755);
    (void)sys::write_file(path, text, 0644);
  }
  std::vector<std::string> walk() {
    const auto upper = sys::open_file(dir_.path() + "/upper", O_RDONLY | O_DIRECTORY).value();
    const auto lower = sys::open_file(dir_.path() + "/lower", O_RDONLY | O_DIRECTORY).value();
    std::vector<std::string> out;
    const auto done =
        walk_diff(upper.get(), lower.get(), [&out](const wire::DiffEntry& entry) -> Result<> {
          out.push_back(std::string(1, static_cast<char>(entry.kind)) + " " + entry.path);
          return {};
        });
    EXPECT_TRUE(done);
    return out;
  }
};

TEST_F(Diff, TellsAddedFromChangedAndNamesTheirDirectories) {
  make("upper/etc/passwd", "changed");
  make("upper/etc/new", "x");
  make("upper/opt/app/run", "x");
  EXPECT_THAT(walk(), ElementsAre("C /etc", "A /etc/new", "C /etc/passwd", "A /opt", "A /opt/app",
                                  "A /opt/app/run"));
}

TEST_F(Diff, LeavesOutTheAgentsOwnMountPoints) {
  make("upper/etc/hosts", "");
  (void)sys::make_dirs(dir_.path() + "/upper/proc", 0755);
  (void)sys::make_dirs(dir_.path() + "/upper/dev", 0755);
  EXPECT_THAT(walk(), ElementsAre());
}

TEST_F(Diff, LeavesOutADirectoryThatWasOnlyCopied) {
  (void)sys::make_dirs(dir_.path() + "/upper/usr/bin", 0755);
  EXPECT_THAT(walk(), ElementsAre());
}

TEST_F(Diff, TellsADirectoryWhoseModeChanged) {
  (void)sys::make_dirs(dir_.path() + "/upper/usr", 0700);
  EXPECT_THAT(walk(), ElementsAre("C /usr"));
}

TEST_F(Diff, TakesAWhiteoutAsADeletion) {
  (void)sys::make_dirs(dir_.path() + "/upper/usr/bin", 0755);
  if (::mknod((dir_.path() + "/upper/usr/bin/tool").c_str(), S_IFCHR, makedev(0, 0)) != 0)
    GTEST_SKIP() << "needs CAP_MKNOD";
  EXPECT_THAT(walk(), ElementsAre("C /usr", "C /usr/bin", "D /usr/bin/tool"));
}

TEST_F(Diff, TellsWhatAnOpaqueDirectoryHides) {
  (void)sys::make_dirs(dir_.path() + "/upper/usr/bin", 0755);
  const std::string opaque = dir_.path() + "/upper/usr/bin";
  if (::setxattr(opaque.c_str(), "trusted.overlay.opaque", "y", 1, 0) != 0)
    GTEST_SKIP() << "needs trusted xattrs";
  make("upper/usr/bin/other", "x");
  EXPECT_THAT(walk(), ElementsAre("C /usr", "C /usr/bin", "A /usr/bin/other", "D /usr/bin/tool"));
}

}  // namespace
}  // namespace mvm::agent::builtin
