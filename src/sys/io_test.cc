// SPDX-License-Identifier: Apache-2.0
#include "sys/io.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "sys/files.h"
#include "sys/random.h"
#include "sys/sha256.h"
#include "sys/signals.h"

namespace mvm::sys {
namespace {

using testing::HasSubstr;

class Io : public testing::Test {
 protected:
  TempDir dir_ = TempDir::create("/tmp", "mvm-io-").value();
  std::string path(const std::string& name) const { return dir_.path() + "/" + name; }
};

struct stat stat_of(const std::string& path) {
  struct stat st{};
  EXPECT_EQ(::lstat(path.c_str(), &st), 0) << path;
  return st;
}

TEST(UniqueFdTest, ClosesWhatItOwns) {
  int number = -1;
  {
    const UniqueFd fd(::open("/dev/null", O_RDONLY));
    number = fd.get();
    EXPECT_NE(::fcntl(number, F_GETFD), -1);
  }
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

TEST(UniqueFdTest, MovesReleasesAndReplaces) {
  UniqueFd first(::open("/dev/null", O_RDONLY));
  const int number = first.get();
  UniqueFd second = std::move(first);
  EXPECT_FALSE(static_cast<bool>(first));  // NOLINT(bugprone-use-after-move): that is the point
  EXPECT_EQ(second.get(), number);
  second = UniqueFd(::open("/dev/zero", O_RDONLY));
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
  const UniqueFd again(second.release());
  EXPECT_FALSE(static_cast<bool>(second));
  EXPECT_NE(::fcntl(again.get(), F_GETFD), -1);
}

TEST_F(Io, OpensWithCloseOnExec) {
  const UniqueFd fd = open_file("/dev/null", O_RDONLY).value();
  EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(Io, NamesTheFileThatCannotBeOpened) {
  EXPECT_EQ(open_file(path("none"), O_RDONLY).error().text(),
            "open " + path("none") + ": No such file or directory");
}

TEST_F(Io, ReadsAndWritesWholeFiles) {
  const std::string text(100'000, 't');
  ASSERT_TRUE(write_file(path("a"), text));
  EXPECT_EQ(read_file(path("a")).value(), text);
  ASSERT_TRUE(write_file(path("a"), ""));
  EXPECT_EQ(read_file(path("a")).value(), "");
}

TEST_F(Io, RefusesAFileOverTheLimit) {
  ASSERT_TRUE(write_file(path("a"), std::string(1025, 't')));
  EXPECT_EQ(read_file(path("a"), kibibytes(1)).error().code(), Errc::kLimit);
  EXPECT_TRUE(read_file("/dev/zero", mebibytes(1)).error().code() == Errc::kLimit);
}

TEST_F(Io, KeepsErrnoOfANonBlockingRead) {
  const Pipe pipe = make_pipe().value();
  ASSERT_TRUE(set_nonblocking(pipe.read_end.get(), true));
  std::array<std::byte, 8> bytes;
  EXPECT_EQ(read_some(pipe.read_end.get(), bytes).error().errnum(), EAGAIN);
  ASSERT_TRUE(set_nonblocking(pipe.read_end.get(), false));
  ASSERT_TRUE(write_full(pipe.write_end.get(), "abc"));
  EXPECT_EQ(read_some(pipe.read_end.get(), bytes).value(), 3U);
}

TEST_F(Io, WritesEverythingThroughANonBlockingDescriptor) {
  Pipe pipe = make_pipe().value();
  ASSERT_TRUE(set_nonblocking(pipe.write_end.get(), true));
  const std::string text(1 << 20, 'w');
  std::thread writer([&] {
    EXPECT_TRUE(write_full(pipe.write_end.get(), text));
    pipe.write_end.reset();
  });
  EXPECT_TRUE(read_fd(pipe.read_end.get()).value() == text);
  writer.join();
}

TEST_F(Io, ReadFullStopsAtTheEndOfTheFile) {
  const UniqueFd fd = memory_file("m", "abc").value();
  std::array<std::byte, 8> bytes;
  EXPECT_EQ(read_full(fd.get(), bytes).value(), 3U);
}

TEST_F(Io, MakesDirectoriesAllTheWay) {
  ASSERT_TRUE(make_dirs(path("a/b/c")));
  ASSERT_TRUE(make_dirs(path("a/b/c")));
  EXPECT_TRUE(S_ISDIR(stat_of(path("a/b/c")).st_mode));
  EXPECT_EQ(stat_of(path("a")).st_mode & 07777, 0700U);
}

TEST_F(Io, RefusesADirectoryWhereAFileIs) {
  ASSERT_TRUE(write_file(path("a"), ""));
  EXPECT_EQ(make_dirs(path("a")).error().errnum(), ENOTDIR);
  EXPECT_EQ(make_dirs(path("a/b")).error().errnum(), ENOTDIR);
}

TEST_F(Io, RemovesATreeWithoutFollowingLinks) {
  ASSERT_TRUE(make_dirs(path("outside")));
  ASSERT_TRUE(write_file(path("outside/keep"), "x"));
  ASSERT_TRUE(make_dirs(path("tree/sub")));
  ASSERT_EQ(::symlink(path("outside").c_str(), path("tree/sub/link").c_str()), 0);
  ASSERT_TRUE(remove_tree(path("tree")));
  EXPECT_FALSE(path_exists(path("tree")));
  EXPECT_TRUE(path_exists(path("outside/keep")));
}

TEST_F(Io, RemovesALinkAndNotItsTarget) {
  ASSERT_TRUE(make_dirs(path("outside")));
  ASSERT_EQ(::symlink(path("outside").c_str(), path("link").c_str()), 0);
  ASSERT_TRUE(remove_tree(path("link")));
  EXPECT_TRUE(path_exists(path("outside")));
  EXPECT_FALSE(path_exists(path("link")));
}

TEST_F(Io, RemovingNothingIsFine) { EXPECT_TRUE(remove_tree(path("none"))); }

TEST_F(Io, SeesADanglingLinkAsAPathThatExists) {
  ASSERT_EQ(::symlink("/nowhere", path("link").c_str()), 0);
  EXPECT_TRUE(path_exists(path("link")));
}

TEST_F(Io, CountsWhatIsAllocatedAndNotHoles) {
  const UniqueFd fd = open_file(path("sparse"), O_RDWR | O_CREAT, 0600).value();
  ASSERT_EQ(::ftruncate(fd.get(), 1 << 30), 0);
  EXPECT_LT(disk_usage(dir_.path()).value(), mebibytes(1));
  ASSERT_TRUE(write_file(path("full"), std::string(2 << 20, 'x')));
  EXPECT_GE(disk_usage(dir_.path()).value(), mebibytes(2));
}

TEST_F(Io, CopySparseKeepsHolesAndData) {
  const UniqueFd from = open_file(path("from"), O_RDWR | O_CREAT, 0600).value();
  ASSERT_EQ(::ftruncate(from.get(), 64 << 20), 0);
  const std::string block(65536, 'd');
  ASSERT_EQ(::pwrite(from.get(), block.data(), block.size(), 32 << 20), 65536);
  ASSERT_EQ(::pwrite(from.get(), "end", 3, (64 << 20) - 3), 3);
  const UniqueFd to = open_file(path("to"), O_RDWR | O_CREAT, 0600).value();
  ASSERT_TRUE(copy_sparse(from.get(), to.get(), mebibytes(64)));
  EXPECT_EQ(stat_of(path("to")).st_size, 64 << 20);
  EXPECT_LE(stat_of(path("to")).st_blocks, 2048);
  EXPECT_EQ(sha256_file(path("to")).value(), sha256_file(path("from")).value());
}

TEST_F(Io, CopySparseGrowsAnImageBeyondItsTemplate) {
  const UniqueFd from = memory_file("from", "start").value();
  const UniqueFd to = open_file(path("to"), O_RDWR | O_CREAT, 0600).value();
  ASSERT_TRUE(copy_sparse(from.get(), to.get(), mebibytes(1)));
  EXPECT_EQ(stat_of(path("to")).st_size, 1 << 20);
  EXPECT_THAT(read_file(path("to")).value(), testing::StartsWith("start"));
}

TEST_F(Io, CopySparseOfAnEmptyFileIsEmpty) {
  const UniqueFd from = memory_file("from", "").value();
  const UniqueFd to = open_file(path("to"), O_RDWR | O_CREAT, 0600).value();
  ASSERT_TRUE(copy_sparse(from.get(), to.get(), Bytes{0}));
  EXPECT_EQ(read_file(path("to")).value(), "");
}

TEST(Sha256Test, GivesThePublishedDigests) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, IsTheSameInPieces) {
  Sha256 hash;
  hash.update("a");
  hash.update("");
  hash.update("bc");
  EXPECT_EQ(hash.finish(), sha256_hex("abc"));
}

TEST(Sha256Test, NamesAFileThatIsNotThere) {
  EXPECT_THAT(sha256_file("/nowhere").error().text(), HasSubstr("/nowhere"));
}

TEST(Random, GivesAsManyHexDigitsAsAskedAndNeverTheSame) {
  EXPECT_EQ(random_hex(8).size(), 16U);
  EXPECT_EQ(random_hex(8).find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_NE(random_hex(16), random_hex(16));
  EXPECT_EQ(random_bytes(1000).size(), 1000U);
}

class SignalText : public testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(SignalText, IsUnderstood) {
  EXPECT_EQ(parse_signal(std::get<0>(GetParam())).value(), std::get<1>(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Signals, SignalText,
                         testing::Values(std::tuple("TERM", 15), std::tuple("SIGTERM", 15),
                                         std::tuple("15", 15), std::tuple("HUP", 1),
                                         std::tuple("SIGKILL", 9), std::tuple("WINCH", 28),
                                         std::tuple("64", 64), std::tuple("SIGRTMIN+3", 37)));

class BadSignal : public testing::TestWithParam<const char*> {};

TEST_P(BadSignal, IsRefusedAndQuoted) {
  const Error error = parse_signal(GetParam()).error();
  EXPECT_EQ(error.code(), Errc::kInvalidArgument);
  EXPECT_THAT(error.text(), HasSubstr("'" + std::string(GetParam()) + "' is not a signal"));
}

INSTANTIATE_TEST_SUITE_P(Signals, BadSignal,
                         testing::Values("", "SIG", "0", "65", "-9", "term", "TERMINATE", "15x",
                                         "4294967311"));

TEST(Signals, AreReadFromADescriptor) {
  const UniqueFd fd = signal_fd({SIGUSR2}).value();
  EXPECT_FALSE(read_signal(fd.get()).has_value());
  ASSERT_EQ(::kill(::getpid(), SIGUSR2), 0);
  EXPECT_EQ(read_signal(fd.get())->ssi_signo, static_cast<unsigned>(SIGUSR2));
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

TEST(SparseFile, HasTheSameBytesAndTakesNoSpaceForZeros) {
  const TempDir dir = TempDir::create("/tmp", "mvm-io-").value();
  const std::string path = dir.path() + "/sparse";
  std::string text(1 << 20, '\0');
  text[5000] = 'a';
  text += "end";
  ASSERT_TRUE(write_sparse_file(path, text));
  EXPECT_EQ(read_file(path).value(), text);
  struct stat st{};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_LE(st.st_blocks, 2 * 4096 / 512);
  ASSERT_TRUE(write_sparse_file(path, ""));
  EXPECT_EQ(read_file(path).value(), "");
}

}  // namespace
}  // namespace mvm::sys
