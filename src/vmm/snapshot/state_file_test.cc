// SPDX-License-Identifier: Apache-2.0
#include "vmm/snapshot/state_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "sys/files.h"
#include "sys/io.h"

namespace mvm::vmm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto span = std::as_bytes(std::span(text));
  return {span.begin(), span.end()};
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

SnapshotInfo info() {
  return {.arch = SnapshotArch::kX86_64,
          .program = "mvm-vmm 0.1.0",
          .memory_id = {{std::byte{7}, std::byte{9}}},
          .memory_size = mebibytes(128)};
}

std::vector<std::byte> small_file() {
  SnapshotWriter writer(info());
  EXPECT_TRUE(writer.add("vcpu0", 1, bytes_of("registers")));
  EXPECT_TRUE(writer.add("net/eth0", 2, bytes_of("queues")));
  EXPECT_TRUE(writer.add("clock", 1, {}));
  return writer.encode();
}

Result<SnapshotReader> parse(std::vector<std::byte> bytes) {
  return SnapshotReader::parse("/x", std::move(bytes), SnapshotArch::kX86_64);
}

class StateFile : public testing::Test {
 protected:
  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-state-").value();
  std::string path(const std::string& name) const { return dir_.path() + "/" + name; }
  std::vector<std::string> names_in(const std::string& dir) const {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(dir))
      out.push_back(entry.path().filename());
    return out;
  }
};

TEST_F(StateFile, ComesBackAsItWasWritten) {
  SnapshotWriter writer(info());
  ASSERT_TRUE(writer.add("vcpu0", 3, bytes_of("registers")));
  ASSERT_TRUE(writer.add("config.json", 1, bytes_of(std::string(100'000, 'j'))));
  ASSERT_TRUE(writer.prepare(path("vm")).value().commit());

  const auto reader = SnapshotReader::open(path("vm"), SnapshotArch::kX86_64).value();
  EXPECT_EQ(reader.info().program, "mvm-vmm 0.1.0");
  EXPECT_EQ(reader.info().memory_id, info().memory_id);
  EXPECT_EQ(reader.info().memory_size, mebibytes(128));
  EXPECT_THAT(reader.names(), ElementsAre("vcpu0", "config.json"));
  EXPECT_EQ(text_of(reader.section("vcpu0", 3).value().content), "registers");
  EXPECT_EQ(reader.section("config.json", 1).value().content.size(), 100'000U);
  EXPECT_FALSE(reader.find("vcpu1").has_value());
  EXPECT_THAT(reader.section("vcpu1", 1).error().text(), HasSubstr("no section vcpu1"));
  EXPECT_EQ(reader.section("vcpu0", 2).error().text(),
            "section vcpu0 of " + path("vm") + " is of version 3, this program reads 2");
}

TEST_F(StateFile, IsForItsOwnerAloneAndReplacesTheOldOne) {
  ASSERT_TRUE(sys::write_file(path("vm"), "old"));
  const SnapshotWriter writer(info());
  ASSERT_TRUE(writer.prepare(path("vm")).value().commit());
  struct stat st{};
  ASSERT_EQ(::stat(path("vm").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600U);
  EXPECT_TRUE(SnapshotReader::open(path("vm"), SnapshotArch::kX86_64));
  EXPECT_THAT(names_in(dir_.path()), ElementsAre("vm"));
}

TEST_F(StateFile, HasNoNameBeforeItIsCommitted) {
  ASSERT_TRUE(sys::write_file(path("vm"), "old"));
  {
    const auto pending = SnapshotWriter(info()).prepare(path("vm"));
    ASSERT_TRUE(pending);
  }
  EXPECT_THAT(names_in(dir_.path()), ElementsAre("vm"));
  EXPECT_EQ(sys::read_file(path("vm")).value(), "old");
}

TEST_F(StateFile, LeavesNothingWhenItsNameCannotBeTaken) {
  ASSERT_TRUE(sys::make_dirs(path("vm/full")));
  {
    auto pending = SnapshotWriter(info()).prepare(path("vm"));
    ASSERT_TRUE(pending);
    EXPECT_THAT(pending->commit().error().text(), HasSubstr(path("vm")));
  }
  EXPECT_THAT(names_in(dir_.path()), ElementsAre("vm"));
}

TEST_F(StateFile, IsRefusedWithAnyBitFlipped) {
  const auto good = small_file();
  ASSERT_TRUE(parse(good));
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      auto bad = good;
      bad[at] ^= std::byte{1} << bit;
      ASSERT_FALSE(parse(std::move(bad))) << "byte " << at << " bit " << bit;
    }
  }
}

TEST_F(StateFile, IsRefusedAtEveryLengthButItsOwn) {
  const auto good = small_file();
  for (std::size_t length = 0; length < good.size(); ++length) {
    const auto half = std::span(good).first(length);
    const auto error = parse({half.begin(), half.end()}).error();
    ASSERT_EQ(error.code(), Errc::kCorrupt);
    ASSERT_THAT(error.text(), HasSubstr("/x is truncated")) << length;
  }
  auto longer = good;
  longer.push_back(std::byte{0});
  EXPECT_EQ(parse(longer).error().text(), "/x is damaged: bytes follow its end");
}

TEST_F(StateFile, NamesTheDamagedSection) {
  auto bad = small_file();
  bad.back() ^= std::byte{1};  // of net/eth0; clock is empty
  EXPECT_EQ(parse(bad).error().text(), "section net/eth0 of /x is damaged");
}

TEST_F(StateFile, NamesAForeignFileVersionAndArchitecture) {
  EXPECT_EQ(parse(bytes_of("#!/bin/sh\n")).error().text(), "/x is not a snapshot");
  auto newer = small_file();
  newer[8] = std::byte{3};
  const Error version = parse(newer).error();
  EXPECT_EQ(version.code(), Errc::kUnsupported);
  EXPECT_EQ(version.text(), "/x was made by format version 3, this program reads 1");
  const Error arch = SnapshotReader::parse("/x", small_file(), SnapshotArch::kAarch64).error();
  EXPECT_EQ(arch.code(), Errc::kUnsupported);
  EXPECT_EQ(arch.text(), "/x is for x86_64, this machine is aarch64");
}

TEST_F(StateFile, IsOnlyReadFromARegularFileOfItsSize) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_THAT(SnapshotReader::open(path("fifo")).error().text(), HasSubstr("not a regular file"));
  EXPECT_EQ(SnapshotReader::open(path("none")).error().code(), Errc::kNotFound);
  ASSERT_TRUE(sys::write_file(path("huge"), ""));
  ASSERT_EQ(::truncate(path("huge").c_str(), (64 << 20) + 1), 0);
  EXPECT_THAT(SnapshotReader::open(path("huge")).error().text(), HasSubstr("larger than 64M"));
}

TEST_F(StateFile, TakesOnlyNamesThatTheFormatAllows) {
  SnapshotWriter writer(info());
  EXPECT_EQ(writer.add("", 1, {}).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(writer.add("a b", 1, {}).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(writer.add(std::string(kMaxSectionName + 1, 'a'), 1, {}).error().code(),
            Errc::kInvalidArgument);
  EXPECT_TRUE(writer.add(std::string(kMaxSectionName, 'a'), 1, {}));
  EXPECT_TRUE(writer.add("a", 1, {}));
  EXPECT_EQ(writer.add("a", 1, {}).error().code(), Errc::kAlreadyExists);
  EXPECT_TRUE(parse(writer.encode()));
}

TEST_F(StateFile, HasItsLimits) {
  SnapshotWriter many(info());
  for (std::size_t i = 0; i < kMaxSections; ++i)
    ASSERT_TRUE(many.add("s" + std::to_string(i), 1, {}));
  EXPECT_EQ(many.add("one-more", 1, {}).error().code(), Errc::kLimit);
  EXPECT_EQ(parse(many.encode()).value().names().size(), kMaxSections);

  SnapshotWriter large(info());
  ASSERT_TRUE(large.add("half", 1, std::vector<std::byte>(32 << 20)));
  EXPECT_EQ(large.add("other", 1, std::vector<std::byte>(32 << 20)).error().code(), Errc::kLimit);
}

// A file system of one mebibyte; needs root.
class StateFileOnFullDisk : public StateFile {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "mounting a tmpfs needs root";
    ASSERT_TRUE(sys::make_dirs(path("disk")));
    if (::mount("tmpfs", path("disk").c_str(), "tmpfs", 0, "size=1m") != 0)
      GTEST_SKIP() << "this container may not mount: " << std::strerror(errno);
  }
  void TearDown() override { ::umount2(path("disk").c_str(), MNT_DETACH); }
};

TEST_F(StateFileOnFullDisk, SaysSoAndLeavesTheOldFile) {
  ASSERT_TRUE(SnapshotWriter(info()).prepare(path("disk/vm")).value().commit());
  SnapshotWriter large(info());
  ASSERT_TRUE(large.add("big", 1, std::vector<std::byte>(2 << 20)));
  const Error error = large.prepare(path("disk/vm")).error();
  EXPECT_EQ(error.code(), Errc::kNoSpace);
  EXPECT_THAT(error.text(), HasSubstr("writing " + path("disk/vm")));
  EXPECT_THAT(SnapshotReader::open(path("disk/vm"), SnapshotArch::kX86_64).value().names(),
              IsEmpty());
  EXPECT_THAT(names_in(path("disk")), ElementsAre("vm"));
}

}  // namespace
}  // namespace mvm::vmm
