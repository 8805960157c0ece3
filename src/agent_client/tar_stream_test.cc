// SPDX-License-Identifier: Apache-2.0
#include "agent_client/tar_stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tuple>

#include "sys/files.h"
#include "sys/io.h"
#include "sys/sha256.h"

namespace mvm::agent_client {
namespace {

using testing::HasSubstr;

class Rebase : public testing::TestWithParam<std::tuple<const char*, const char*, const char*>> {};

TEST_P(Rebase, KeepsThePartBelowTheFirstComponent) {
  const auto [member, rename_to, expected] = GetParam();
  EXPECT_EQ(rebase_member(member, rename_to), std::string(expected));
}

INSTANTIATE_TEST_SUITE_P(
    Members, Rebase,
    testing::Values(std::tuple("etc/passwd", "copy", "copy/passwd"),
                    std::tuple("etc/passwd", "", "passwd"), std::tuple("etc", "", "."),
                    std::tuple("etc", "copy", "copy"), std::tuple("etc/", "copy", "copy"),
                    std::tuple("./etc/a/b/", "copy", "copy/a/b"),
                    std::tuple("etc/..name", "c", "c/..name"), std::tuple("etc/a..", "c", "c/a.."),
                    std::tuple("././x/y", "", "y")));

class RefusedMember : public testing::TestWithParam<const char*> {};

TEST_P(RefusedMember, IsNotAcceptable) {
  EXPECT_EQ(rebase_member(GetParam(), "copy"), std::nullopt);
  EXPECT_EQ(rebase_member(GetParam(), ""), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(Members, RefusedMember,
                         testing::Values("", "/", "./", "/etc/passwd", ".//etc", "..", "../x",
                                         "a/..", "a/../../b", "a/b/..", "./../x"));

class Tar : public testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    ASSERT_TRUE(sys::make_dirs(path("from")));
    ASSERT_TRUE(sys::make_dirs(path("to")));
    ASSERT_TRUE(sys::write_file(path("secret"), "secret"));
  }
  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-tar-").value();
  std::string path(const std::string& name) const { return dir_.path() + "/" + name; }

  std::string packed(const PackRequest& request) {
    TarChild child = pack(request).value();
    std::string stream = sys::read_fd(child.pipe(), mebibytes(64)).value();
    const auto end = child.finish();
    EXPECT_TRUE(end.has_value()) << end.error().text();
    return stream;
  }
  Result<> unpacked(std::string_view stream, const std::string& rename_to = "copy") {
    TarChild child = MVM_TRY(unpack({path("to"), rename_to}));
    (void)sys::write_full(child.pipe(), stream);
    return child.finish();
  }
  struct stat stat_of(const std::string& name) {
    struct stat st{};
    EXPECT_EQ(::lstat(path(name).c_str(), &st), 0) << name;
    return st;
  }
};

struct Member {
  std::string name;
  unsigned type = AE_IFREG;
  std::string link = {};  // target of a symbolic link; with AE_IFREG that of a hard link
  std::string data = {};
  unsigned mode = 0644;
};

// A tar stream as a hostile guest would send it: nothing is checked.
std::string tar_of(const std::vector<Member>& members) {
  std::string buffer(64 << 20, '\0');
  std::size_t used = 0;
  archive* out = archive_write_new();
  archive_write_set_format_pax_restricted(out);
  archive_write_open_memory(out, buffer.data(), buffer.size(), &used);
  for (const Member& m : members) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, m.name.c_str());
    archive_entry_set_filetype(entry, m.type);
    archive_entry_set_perm(entry, m.mode);
    archive_entry_set_size(entry, static_cast<la_int64_t>(m.data.size()));
    if (!m.link.empty() && m.type == AE_IFLNK) archive_entry_set_symlink(entry, m.link.c_str());
    if (!m.link.empty() && m.type != AE_IFLNK) archive_entry_set_hardlink(entry, m.link.c_str());
    archive_write_header(out, entry);
    archive_write_data(out, m.data.data(), m.data.size());
    archive_entry_free(entry);
  }
  archive_write_close(out);
  archive_write_free(out);
  buffer.resize(used);
  return buffer;
}

TEST_F(Tar, BringsATreeOverUnchanged) {
  const std::string deep = "from/" + std::string(120, 'd') + "/" + std::string(200, 'n');
  ASSERT_TRUE(sys::make_dirs(path("from/" + std::string(120, 'd'))));
  ASSERT_TRUE(sys::write_file(path(deep), "long"));
  ASSERT_TRUE(sys::write_file(path("from/run"), "#!/bin/sh\n", 0755));
  ASSERT_TRUE(sys::write_file(path("from/empty"), ""));
  ASSERT_EQ(::symlink("../outside", path("from/link").c_str()), 0);
  ASSERT_EQ(::link(path("from/run").c_str(), path("from/twin").c_str()), 0);
  ASSERT_TRUE(unpacked(packed({path("from"), "tree"})));
  EXPECT_EQ(sys::read_file(path("to/copy" + deep.substr(4))).value(), "long");
  EXPECT_EQ(stat_of("to/copy/run").st_mode & 07777, 0755U);
  EXPECT_EQ(stat_of("to/copy/empty").st_size, 0);
  EXPECT_EQ(stat_of("to/copy/run").st_ino, stat_of("to/copy/twin").st_ino);
  EXPECT_TRUE(S_ISLNK(stat_of("to/copy/link").st_mode));
  EXPECT_EQ(stat_of("to/copy/run").st_mtime, stat_of("from/run").st_mtime);
}

TEST_F(Tar, BringsASparseFileOverWithItsContent) {
  const sys::UniqueFd fd = sys::open_file(path("from/sparse"), O_RDWR | O_CREAT, 0600).value();
  ASSERT_EQ(::ftruncate(fd.get(), 8 << 20), 0);
  ASSERT_EQ(::pwrite(fd.get(), "middle", 6, 4 << 20), 6);
  ASSERT_TRUE(unpacked(packed({path("from/sparse"), "sparse"})));
  EXPECT_EQ(sys::sha256_file(path("to/copy")).value(),
            sys::sha256_file(path("from/sparse")).value());
}

TEST_F(Tar, PutsTheContentOfADirectoryAloneWhereItIsAskedTo) {
  ASSERT_TRUE(sys::write_file(path("from/a"), "a"));
  ASSERT_TRUE(unpacked(packed({path("from"), "from"}), ""));
  EXPECT_EQ(sys::read_file(path("to/a")).value(), "a");
}

TEST_F(Tar, TakesADirectoryNamedWithASlashAtItsEnd) {
  ASSERT_TRUE(sys::write_file(path("from/a"), "a"));
  ASSERT_TRUE(unpacked(packed({path("from") + "/", "from"})));
  EXPECT_EQ(sys::read_file(path("to/copy/a")).value(), "a");
}

TEST_F(Tar, NamesASourceThatIsNotThereBeforeAnythingStarts) {
  const Error error = pack({path("none"), "none"}).error();
  EXPECT_EQ(error.code(), Errc::kNotFound);
  EXPECT_THAT(error.text(), HasSubstr(path("none")));
}

TEST_F(Tar, RefusesMembersThatLeaveTheDirectory) {
  for (const char* name : {"../evil", "x/../../evil", "/tmp/mvm-evil"}) {
    const auto done = unpacked(tar_of({{.name = name, .data = "evil"}}));
    ASSERT_FALSE(done.has_value()) << name;
    EXPECT_THAT(done.error().text(), HasSubstr("refused")) << name;
  }
  EXPECT_FALSE(sys::path_exists(path("evil")));
  EXPECT_FALSE(sys::path_exists("/tmp/mvm-evil"));
}

TEST_F(Tar, RefusesAFileThroughALinkOfTheSameStream) {
  const auto done = unpacked(tar_of({{.name = "x", .type = AE_IFDIR, .mode = 0755},
                                     {.name = "x/out", .type = AE_IFLNK, .link = dir_.path()},
                                     {.name = "x/out/secret", .data = "overwritten"}}));
  EXPECT_FALSE(done.has_value());
  EXPECT_EQ(sys::read_file(path("secret")).value(), "secret");
}

TEST_F(Tar, RefusesToWriteThroughALinkWithTheNameOfAFile) {
  (void)unpacked(tar_of({{.name = "x", .type = AE_IFLNK, .link = path("secret")},
                         {.name = "x", .data = "overwritten"}}));
  EXPECT_EQ(sys::read_file(path("secret")).value(), "secret");
}

TEST_F(Tar, RefusesHardLinksToTheOutside) {
  for (const std::string& target :
       {path("secret"), std::string("../secret"), std::string("x/../../secret")}) {
    EXPECT_FALSE(unpacked(tar_of({{.name = "x/h", .link = target}})).has_value()) << target;
  }
}

TEST_F(Tar, RefusesHardLinksThroughALinkOfTheSameStream) {
  const auto done = unpacked(tar_of({{.name = "x", .type = AE_IFDIR, .mode = 0755},
                                     {.name = "x/out", .type = AE_IFLNK, .link = dir_.path()},
                                     {.name = "x/h", .link = "x/out/secret"}}));
  EXPECT_FALSE(done.has_value());
  EXPECT_EQ(stat_of("secret").st_nlink, 1U);
}

TEST_F(Tar, DropsSetIdBits) {
  ASSERT_TRUE(unpacked(tar_of({{.name = "x", .data = "x", .mode = 06755}})));
  EXPECT_EQ(stat_of("to/copy").st_mode & 07777, 0755U);
}

TEST_F(Tar, SkipsSpecialFilesHoweverMany) {
  std::vector<Member> members(20'000, {.name = "x/fifo", .type = AE_IFIFO});
  members.push_back({.name = "x/last", .data = "last"});
  ASSERT_TRUE(unpacked(tar_of(members)));
  EXPECT_EQ(sys::read_file(path("to/copy/last")).value(), "last");
  EXPECT_FALSE(sys::path_exists(path("to/copy/fifo")));
}

TEST_F(Tar, ReportsAStreamThatIsEmptyOrCutOrGarbage) {
  EXPECT_FALSE(unpacked("").has_value());
  EXPECT_FALSE(unpacked(std::string(5000, 'g')).has_value());
  const std::string whole = tar_of({{.name = "x", .data = std::string(100'000, 'd')}});
  EXPECT_FALSE(unpacked(whole.substr(0, 50'000)).has_value());
}

}  // namespace
}  // namespace mvm::agent_client
