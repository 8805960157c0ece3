// SPDX-License-Identifier: Apache-2.0
#include "sys/files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>

#include "sys/io.h"
#include "sys/process.h"

namespace mvm::sys {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names_in(const std::string& dir) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(dir))
    out.push_back(entry.path().filename());
  std::sort(out.begin(), out.end());
  return out;
}

class Files : public testing::Test {
 protected:
  TempDir dir_ = TempDir::create("/tmp", "mvm-files-").value();
  std::string path(const std::string& name) const { return dir_.path() + "/" + name; }
};

TEST_F(Files, WriteAtomicMakesAFileWithItsMode) {
  ASSERT_TRUE(write_atomic(path("a"), "text", 0640, Durability::kSurvivesPowerCut));
  struct stat st;
  ASSERT_EQ(::stat(path("a").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640U);
  EXPECT_EQ(read_file(path("a")).value(), "text");
  EXPECT_THAT(names_in(dir_.path()), ElementsAre("a"));
}

TEST_F(Files, WriteAtomicReplacesTheOldContent) {
  ASSERT_TRUE(write_atomic(path("a"), "a longer old text"));
  ASSERT_TRUE(write_atomic(path("a"), "new"));
  EXPECT_EQ(read_file(path("a")).value(), "new");
}

TEST_F(Files, WriteAtomicLeavesNothingWhenTheTargetCannotBeReplaced) {
  ASSERT_TRUE(make_dirs(path("a/full")));
  EXPECT_THAT(write_atomic(path("a"), "text").error().text(), HasSubstr(path("a")));
  EXPECT_THAT(names_in(dir_.path()), ElementsAre("a"));
}

TEST_F(Files, WriteAtomicNeedsItsDirectory) {
  EXPECT_EQ(write_atomic(path("none/a"), "text").error().code(), Errc::kNotFound);
}

// A file system of one mebibyte; needs root.
class FullDisk : public Files {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "mounting a tmpfs needs root";
    ASSERT_TRUE(make_dirs(path("disk")));
    if (::mount("tmpfs", path("disk").c_str(), "tmpfs", 0, "size=1m") != 0)
      GTEST_SKIP() << "this container may not mount: " << std::strerror(errno);
  }
  void TearDown() override { ::umount2(path("disk").c_str(), MNT_DETACH); }
};

TEST_F(FullDisk, KeepsTheOldContentAndSaysThatThereIsNoSpace) {
  ASSERT_TRUE(write_atomic(path("disk/a"), "old"));
  const Error error = write_atomic(path("disk/a"), std::string(2 << 20, 'x')).error();
  EXPECT_EQ(error.code(), Errc::kNoSpace);
  EXPECT_THAT(error.text(), HasSubstr("writing " + path("disk/a")));
  EXPECT_EQ(read_file(path("disk/a")).value(), "old");
  EXPECT_THAT(names_in(path("disk")), ElementsAre("a"));
}

TEST_F(FullDisk, IsReportedByCopySparse) {
  const UniqueFd from = memory_file("from", std::string(2 << 20, 'x')).value();
  const UniqueFd to = open_file(path("disk/a"), O_RDWR | O_CREAT, 0600).value();
  EXPECT_EQ(copy_sparse(from.get(), to.get(), mebibytes(2)).error().code(), Errc::kNoSpace);
}

TEST_F(Files, TempDirGoesWithEverythingInIt) {
  std::string inside;
  {
    const TempDir temp = TempDir::create(dir_.path(), "t-").value();
    inside = temp.path();
    ASSERT_TRUE(make_dirs(inside + "/a/b"));
    ASSERT_TRUE(write_file(inside + "/a/b/c", "x"));
  }
  EXPECT_FALSE(path_exists(inside));
}

TEST_F(Files, TempDirIsForItsOwnerAlone) {
  const TempDir temp = TempDir::create(dir_.path(), "t-").value();
  struct stat st;
  ASSERT_EQ(::stat(temp.path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700U);
}

TEST_F(Files, TempDirStaysWhenKept) {
  std::string kept;
  {
    TempDir temp = TempDir::create(dir_.path(), "t-").value();
    kept = temp.keep();
  }
  EXPECT_TRUE(path_exists(kept));
}

TEST_F(Files, TempDirMovesItsDuty) {
  TempDir first = TempDir::create(dir_.path(), "t-").value();
  const std::string name = first.path();
  {
    const TempDir second = std::move(first);
    EXPECT_TRUE(path_exists(name));
  }
  EXPECT_FALSE(path_exists(name));
}

TEST_F(Files, TempDirNeedsItsParent) {
  EXPECT_EQ(TempDir::create(path("none"), "t-").error().code(), Errc::kNotFound);
}

TEST(ScopeGuardTest, RunsOnLeavingUnlessDismissed) {
  int runs = 0;
  {
    const ScopeGuard armed([&] { ++runs; });
    ScopeGuard dismissed([&] { runs += 10; });
    dismissed.dismiss();
    EXPECT_EQ(runs, 0);
  }
  EXPECT_EQ(runs, 1);
}

// Runs `body` in a process of its own and returns its exit code.
int in_another_process(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(Files, LockIsHeldAgainstAnotherProcess) {
  const FileLock lock = FileLock::acquire(path("lock")).value();
  const int taken = in_another_process([&] {
    const auto other = FileLock::try_acquire(path("lock"));
    return other && other->has_value() ? 1 : 0;
  });
  EXPECT_EQ(taken, 0);
}

TEST_F(Files, LockIsFreeAgainWhenItsObjectGoes) {
  (void)FileLock::acquire(path("lock")).value();
  EXPECT_TRUE(FileLock::try_acquire(path("lock")).value().has_value());
}

TEST_F(Files, LockIsFreeAgainWhenItsProcessDies) {
  ASSERT_EQ(in_another_process([&] {
              const auto lock = FileLock::acquire(path("lock"));
              return lock.has_value() ? 7 : 8;
            }),
            7);
  EXPECT_FALSE(FileLock::is_held(path("lock")).value());
}

TEST_F(Files, LockIsSeenAsHeldByOthersWithoutBeingTaken) {
  EXPECT_FALSE(FileLock::is_held(path("lock")).value());
  EXPECT_FALSE(path_exists(path("lock")));
  const FileLock lock = FileLock::acquire(path("lock")).value();
  const auto look = [&] {
    const auto held = FileLock::is_held(path("lock"));
    return held && *held ? 1 : 0;
  };
  EXPECT_EQ(in_another_process(look), 1);
  EXPECT_EQ(look(), 1);
}

TEST_F(Files, SharedLocksLiveTogetherAndKeepTheExclusiveOneOut) {
  const FileLock first = FileLock::acquire_shared(path("lock")).value();
  const FileLock second = FileLock::acquire_shared(path("lock")).value();
  EXPECT_FALSE(FileLock::try_acquire(path("lock")).value().has_value());
  EXPECT_FALSE(FileLock::is_held(path("lock")).value());
}

TEST_F(Files, LockLivesOnInAChildThatWasGivenItsDescriptor) {
  Pipe input = make_pipe().value();
  Command command;
  command.argv = {"cat"};
  command.fds = {{input.read_end.get(), 0}};
  std::optional<FileLock> lock = FileLock::acquire(path("lock")).value();
  command.fds.emplace_back(lock->fd(), 5);
  Child child = spawn(command).value();
  lock.reset();
  EXPECT_TRUE(FileLock::is_held(path("lock")).value());
  input.write_end.reset();
  ASSERT_TRUE(child.wait(Deadline::after(Millis(10'000), "the end of cat")));
  EXPECT_FALSE(FileLock::is_held(path("lock")).value());
}

TEST_F(Files, LockThatIsAwaitedComesWhenTheHolderEnds) {
  Pipe ready = make_pipe().value();
  Pipe go = make_pipe().value();
  const pid_t holder = ::fork();
  if (holder == 0) {
    const auto lock = FileLock::acquire(path("lock"));
    (void)write_full(ready.write_end.get(), "r");
    std::byte one;
    go.write_end.reset();
    (void)read_some(go.read_end.get(), std::span(&one, 1));
    ::_exit(lock.has_value() ? 0 : 1);
  }
  std::byte one;
  ASSERT_EQ(read_some(ready.read_end.get(), std::span(&one, 1)).value(), 1U);
  go.write_end.reset();
  EXPECT_TRUE(FileLock::acquire(path("lock")).has_value());
  ::waitpid(holder, nullptr, 0);
}

}  // namespace
}  // namespace mvm::sys
