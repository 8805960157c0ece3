// SPDX-License-Identifier: Apache-2.0
#include "image/unpack.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include "image/assemble.h"
#include "image/tar_builder.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/sha256.h"

namespace mvm::image {
namespace {

using ::testing::HasSubstr;

class Unpack : public ::testing::Test {
 protected:
  Result<> apply(TarBuilder& tar, bool whiteouts = true, UnpackLimits limits = {}) {
    if (!unpacker_) unpacker_.emplace(Unpacker::create(tree(), limits).value());
    return unpacker_->add_layer_bytes(tar.bytes(), whiteouts);
  }
  std::string tree() const { return dir_.path(); }
  bool has(const std::string& path) const { return sys::path_exists(tree() + "/" + path); }
  std::string read(const std::string& path) const {
    return sys::read_file(tree() + "/" + path).value();
  }
  struct stat status(const std::string& path) const {
    struct stat st = {};
    EXPECT_EQ(::lstat((tree() + "/" + path).c_str(), &st), 0) << path;
    return st;
  }
  std::string refusal(TarBuilder& tar) {
    const Result<> done = apply(tar);
    EXPECT_FALSE(done.has_value());
    EXPECT_EQ(done.error().code(), Errc::kCorrupt);
    return done.error().text();
  }

  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-unpack-").value();
  std::optional<Unpacker> unpacker_;
};

TEST_F(Unpack, KeepsContentModeAndTime) {
  TarBuilder tar;
  tar.directory("./bin").file("./bin/su", "text", 04755).fifo("pipe");
  ASSERT_TRUE(apply(tar).has_value());
  ASSERT_TRUE(unpacker_->finish().has_value());
  EXPECT_EQ(read("bin/su"), "text");
  EXPECT_EQ(status("bin/su").st_mode, static_cast<mode_t>(S_IFREG | 04755));
  EXPECT_EQ(status("bin/su").st_mtim.tv_sec, 1'600'000'000);
  EXPECT_EQ(status("bin").st_mtim.tv_sec, 1'600'000'000);
  EXPECT_TRUE(S_ISFIFO(status("pipe").st_mode));
  char value = 0;
  EXPECT_EQ(::getxattr((tree() + "/bin/su").c_str(), "user.test", &value, 1), 1);
}

TEST_F(Unpack, GivesUndescribedDirectoriesAFixedTime) {
  TarBuilder tar;
  tar.file("a/b/c", "x");
  ASSERT_TRUE(apply(tar).has_value());
  ASSERT_TRUE(unpacker_->finish().has_value());
  EXPECT_EQ(status("a/b").st_mtim.tv_sec, 0);
  EXPECT_EQ(status("a/b").st_mode, static_cast<mode_t>(S_IFDIR | 0755));
}

TEST_F(Unpack, RefusesPathThatClimbsOut) {
  TarBuilder tar;
  tar.file("a/../../evil", "x");
  EXPECT_THAT(refusal(tar), HasSubstr("'a/../../evil' climbs out"));
}

TEST_F(Unpack, KeepsWritesThroughSymlinksInside) {
  TarBuilder tar;
  tar.symlink("out", "/tmp")
      .symlink("up", "../../../..")
      .file("out/mvm-escaped", "x")
      .file("up/mvm-escaped2", "y");
  ASSERT_TRUE(apply(tar).error().code() == Errc::kCorrupt);  // "/tmp" does not exist in the tree
  EXPECT_FALSE(sys::path_exists("/tmp/mvm-escaped"));
}

TEST_F(Unpack, ResolvesAnAbsoluteSymlinkInsideTheTree) {
  TarBuilder tar;
  tar.directory("usr/lib")
      .symlink("lib", "/usr/lib")
      .symlink("up", "../../usr")
      .file("lib/x", "1")
      .file("up/y", "2");
  ASSERT_TRUE(apply(tar).has_value());
  EXPECT_EQ(read("usr/lib/x"), "1");
  EXPECT_EQ(read("usr/y"), "2");
}

TEST_F(Unpack, DoesNotWriteThroughAFinalSymlink) {
  TarBuilder tar;
  tar.symlink("x", "/etc/mvm-nowhere").file("x", "file");
  ASSERT_TRUE(apply(tar).has_value());
  EXPECT_TRUE(S_ISREG(status("x").st_mode));
}

TEST_F(Unpack, RefusesAbsoluteHardLink) {
  TarBuilder tar;
  tar.hard_link("x", "/etc/passwd");
  EXPECT_THAT(refusal(tar), HasSubstr("hard link to the absolute path '/etc/passwd'"));
}

TEST_F(Unpack, RefusesHardLinkThatClimbsOut) {
  TarBuilder tar;
  tar.hard_link("x", "../../etc/passwd");
  EXPECT_THAT(refusal(tar), HasSubstr("which is not a path in the tree"));
}

TEST_F(Unpack, RefusesHardLinkThroughSymlinkToTheHost) {
  TarBuilder tar;
  tar.symlink("etc", "/etc").hard_link("x", "etc/passwd");
  EXPECT_THAT(refusal(tar), HasSubstr("'x'"));
}

TEST_F(Unpack, RefusesHardLinkToDirectory) {
  TarBuilder tar;
  tar.directory("d").hard_link("x", "d");
  EXPECT_THAT(refusal(tar), HasSubstr("hard link to the directory 'd'"));
}

TEST_F(Unpack, LinksHardLinks) {
  TarBuilder tar;
  tar.file("a", "x").hard_link("b", "./a");
  ASSERT_TRUE(apply(tar).has_value());
  EXPECT_EQ(status("a").st_ino, status("b").st_ino);
}

TEST_F(Unpack, RefusesSymlinkLoopAsParent) {
  TarBuilder tar;
  tar.symlink("a", "b").symlink("b", "a").file("a/x", "1");
  EXPECT_THAT(refusal(tar), HasSubstr("'a'"));
}

TEST_F(Unpack, WhiteoutRemovesLowerFilesAndTrees) {
  TarBuilder low, high;
  low.file("f", "1").file("d/x", "1").file("keep", "1");
  high.file(".wh.f", "").file(".wh.d", "").file(".wh.never", "");
  ASSERT_TRUE(apply(low).has_value());
  ASSERT_TRUE(apply(high).has_value());
  EXPECT_FALSE(has("f"));
  EXPECT_FALSE(has("d"));
  EXPECT_TRUE(has("keep"));
  EXPECT_FALSE(has(".wh.f"));
}

TEST_F(Unpack, OpaqueHidesLowerEntriesButNotItsOwn) {
  TarBuilder low, high;
  low.file("d/low", "1").file("d/sub/low", "1");
  high.file("d/new", "2").file("d/sub/new", "2").file("d/.wh..wh..opq", "");
  ASSERT_TRUE(apply(low).has_value());
  ASSERT_TRUE(apply(high).has_value());
  EXPECT_FALSE(has("d/low"));
  EXPECT_FALSE(has("d/sub/low"));
  EXPECT_EQ(read("d/new"), "2");
  EXPECT_EQ(read("d/sub/new"), "2");
}

TEST_F(Unpack, WhiteoutAfterItsOwnEntrySparesTheEntry) {
  TarBuilder low, high;
  low.file("f", "1");
  high.file("f", "2").file(".wh.f", "");
  ASSERT_TRUE(apply(low).has_value());
  ASSERT_TRUE(apply(high).has_value());
  EXPECT_EQ(read("f"), "2");
}

TEST_F(Unpack, WhiteoutOfDotDotIsRefused) {
  TarBuilder tar;
  tar.file("d/.wh...", "");
  EXPECT_THAT(refusal(tar), HasSubstr("'..'"));
}

TEST_F(Unpack, PlainTarKeepsWhiteoutNames) {
  TarBuilder tar;
  tar.file(".wh.f", "text");
  ASSERT_TRUE(apply(tar, false).has_value());
  EXPECT_EQ(read(".wh.f"), "text");
}

TEST_F(Unpack, UpperLayerReplacesFileByDirectoryAndBack) {
  TarBuilder low, high;
  low.file("a", "1").file("b/x", "1").file("c", "1");
  high.file("a/inside", "2").file("b", "2").directory("c");
  ASSERT_TRUE(apply(low).has_value());
  ASSERT_TRUE(apply(high).has_value());
  EXPECT_EQ(read("a/inside"), "2");
  EXPECT_EQ(read("b"), "2");
  EXPECT_TRUE(S_ISDIR(status("c").st_mode));
}

TEST_F(Unpack, KeepsNamesThatAreNotNormalisedUnicode) {
  TarBuilder tar;
  tar.file("e\xcc\x81.txt", "decomposed").file(std::string(150, 'x') + "/e\xcc\x81", "long");
  ASSERT_TRUE(apply(tar).has_value());
  EXPECT_TRUE(has("e\xcc\x81.txt"));
  EXPECT_TRUE(has(std::string(150, 'x') + "/e\xcc\x81"));
}

TEST_F(Unpack, StopsAtTheEntryLimit) {
  TarBuilder tar;
  tar.file("a", "").file("b", "").file("c", "");
  const Result<> done = apply(tar, true, UnpackLimits{.total = mebibytes(1), .entries = 2});
  EXPECT_EQ(done.error().code(), Errc::kLimit);
}

TEST_F(Unpack, StopsAtTheSizeLimit) {
  TarBuilder tar;
  tar.file("a", std::string(2000, 'x'));
  const Result<> done = apply(tar, true, UnpackLimits{.total = Bytes{1000}, .entries = 9});
  EXPECT_EQ(done.error().code(), Errc::kLimit);
}

TEST_F(Unpack, RefusesTruncatedArchive) {
  TarBuilder tar;
  tar.file("a", std::string(5000, 'x'));
  Unpacker unpacker = Unpacker::create(tree()).value();
  const Result<> done = unpacker.add_layer_bytes(tar.bytes().first(2048), true);
  EXPECT_EQ(done.error().code(), Errc::kCorrupt);
}

TEST_F(Unpack, RefusesLayerWithAnotherDigest) {
  const sys::TempDir other = sys::TempDir::create("/tmp", "mvm-layer-").value();
  TarBuilder tar;
  tar.file("a", "x");
  const auto bytes = tar.bytes();
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  ASSERT_TRUE(sys::write_file(other.path() + "/l.tar", text).has_value());
  Unpacker unpacker = Unpacker::create(tree()).value();
  NoProgress progress;
  const LayerFile layer{other.path() + "/l.tar", "sha256:" + std::string(64, '0'),
                        Bytes{text.size()}, true};
  const Result<> done = unpacker.add_layer(layer, progress);
  EXPECT_THAT(done.error().text(), HasSubstr("digest mismatch: layer sha256:0000"));
}

TEST(Assemble, GivesTheSameBytesInAnotherDirectoryAtAnotherTime) {
  const sys::TempDir dir = sys::TempDir::create("/tmp", "mvm-assemble-").value();
  TarBuilder tar;
  tar.file("z/deep/file", "text", 0600)
      .hard_link("a", "z/deep/file")
      .symlink("s", "z")
      .directory("tmp", 01777);
  const auto bytes = tar.bytes();
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  ASSERT_TRUE(sys::write_file(dir.path() + "/l.tar", text).has_value());
  NoProgress progress;
  std::vector<std::string> digests;
  for (const char* name : {"/first", "/second"}) {
    const std::string work = dir.path() + name;
    ASSERT_TRUE(sys::make_dirs(work).has_value());
    const AssemblePlan plan{
        {LayerFile{dir.path() + "/l.tar", "", {}, true}}, "", "", work, work + "/out.erofs"};
    ASSERT_TRUE(assemble_here(plan, progress).has_value());
    digests.push_back(sys::sha256_file(plan.output).value());
  }
  EXPECT_EQ(digests[0], digests[1]);
}

TEST(Assemble, PlansSurviveTheirJson) {
  const AssemblePlan plan{{LayerFile{"/l", "sha256:x", Bytes{7}, true}}, "/t", "/d", "/w", "/o"};
  const AssemblePlan again = plan_from_json(plan_to_json(plan)).value();
  EXPECT_EQ(plan_to_json(again), plan_to_json(plan));
  EXPECT_EQ(plan_from_json("{\"schema\":2}").error().code(), Errc::kInvalidArgument);
}

}  // namespace
}  // namespace mvm::image
