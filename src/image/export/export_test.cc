// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/erofs.h"
#include "image/export/erofs_reader.h"
#include "image/export/layer_writer.h"
#include "image/export/oci_export.h"
#include "image/oci_manifest.h"
#include "spec/guest_label.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ErofsReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(sys::make_dirs(tree_ + "/dir", 0755));
    ASSERT_TRUE(sys::write_file(tree_ + "/dir/small", "hello"));
    ASSERT_TRUE(sys::write_file(tree_ + "/large", std::string(10000, 'x') + "end"));
    ASSERT_TRUE(sys::write_file(tree_ + "/page", std::string(4096, 'p')));
    ASSERT_TRUE(sys::write_file(tree_ + "/empty", ""));
    ASSERT_EQ(::link((tree_ + "/dir/small").c_str(), (tree_ + "/second").c_str()), 0);
    ASSERT_EQ(::symlink("dir/small", (tree_ + "/link").c_str()), 0);
    const auto made = make_erofs(tree_, image_);
    ASSERT_TRUE(made) << made.error().text();
  }
  static std::uint64_t find(const ErofsReader& reader, std::uint64_t in, const std::string& name) {
    const auto entries = *reader.directory(*reader.inode(in));
    for (const ErofsEntry& entry : entries) {
      if (entry.name == name) return entry.nid;
    }
    ADD_FAILURE() << name;
    return 0;
  }
  static std::string content(const ErofsReader& reader, std::uint64_t nid) {
    const ErofsInode inode = *reader.inode(nid);
    std::string out(inode.size, '?');
    EXPECT_TRUE(reader.read(inode, 0, std::as_writable_bytes(std::span(out))));
    return out;
  }

  sys::TempDir dir_ = *sys::TempDir::create("/tmp", "mvm-erofs-");
  std::string tree_ = dir_.path() + "/tree";
  std::string image_ = dir_.path() + "/image";
};

TEST_F(ErofsReaderTest, ReadsWhatMkfsHasWritten) {
  const ErofsReader reader = *ErofsReader::open(image_);
  std::vector<std::string> names;
  const auto entries = *reader.directory(*reader.inode(reader.root()));
  for (const ErofsEntry& entry : entries) names.push_back(entry.name);
  EXPECT_THAT(names, ElementsAre("dir", "empty", "large", "link", "page", "second"));
  EXPECT_EQ(content(reader, find(reader, reader.root(), "large")), std::string(10000, 'x') + "end");
  EXPECT_EQ(content(reader, find(reader, reader.root(), "page")), std::string(4096, 'p'));
  EXPECT_EQ(content(reader, find(reader, reader.root(), "empty")), "");
  const auto second = find(reader, reader.root(), "second");
  EXPECT_EQ(second, find(reader, find(reader, reader.root(), "dir"), "small"));
  EXPECT_EQ(reader.inode(second)->links, 2U);
  EXPECT_EQ(*reader.link_target(*reader.inode(find(reader, reader.root(), "link"))), "dir/small");
}

TEST_F(ErofsReaderTest, ReadsFromTheMiddleAndNotPastTheEnd) {
  const ErofsReader reader = *ErofsReader::open(image_);
  const ErofsInode large = *reader.inode(find(reader, reader.root(), "large"));
  std::string part(6, '?');
  ASSERT_TRUE(reader.read(large, 9997, std::as_writable_bytes(std::span(part))));
  EXPECT_EQ(part, "xxxend");
  EXPECT_FALSE(reader.read(large, 9998, std::as_writable_bytes(std::span(part))));
}

// Whatever a byte becomes, the answer is an error or another tree; the sanitizers watch.
TEST_F(ErofsReaderTest, AChangedByteOfTheMetadataDoesNoHarm) {
  const std::string good = *sys::read_file(image_);
  for (std::size_t at = 1024; at < std::min<std::size_t>(good.size(), 4096); ++at) {
    for (const char value : {'\0', '\xff', '\x10'}) {
      std::string bad = good;
      bad[at] = value;
      ASSERT_TRUE(sys::write_file(image_, bad));
      (void)write_layer(image_, "/dev/null");
    }
  }
}

TEST_F(ErofsReaderTest, AnImageThatIsCutOffIsCorrupt) {
  const std::string good = *sys::read_file(image_);
  ASSERT_TRUE(sys::write_file(image_, good.substr(0, good.size() - 4096)));
  const auto written = write_layer(image_, dir_.path() + "/layer.tar");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code(), Errc::kCorrupt);
}

TEST_F(ErofsReaderTest, WhatIsNoImageIsNamed) {
  ASSERT_TRUE(sys::write_file(image_, std::string(8192, 'n')));
  EXPECT_THAT(ErofsReader::open(image_).error().text(), HasSubstr("no EROFS file"));
}

TEST(OciConfig, IsReadAsItWasWritten) {
  store::ImageRecord record;
  record.config.entrypoint = {"/bin/app"};
  record.config.cmd = {"--x", "ü"};
  record.config.env = {"A=1"};
  record.config.user = "nobody";
  record.config.working_dir = "/srv";
  record.config.stop_signal = "INT";
  record.config.exposed_ports = {"80/tcp"};
  const auto text = oci_config(record, std::string(64, 'a'));
  ASSERT_TRUE(text);
  const auto read = parse_image_document(*text);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->architecture, "amd64");
  EXPECT_EQ(read->config.entrypoint, record.config.entrypoint);
  EXPECT_EQ(read->config.cmd, record.config.cmd);
  EXPECT_EQ(read->config.env, record.config.env);
  EXPECT_EQ(read->config.user, "nobody");
  EXPECT_EQ(read->config.working_dir, "/srv");
  EXPECT_EQ(read->config.exposed_ports, record.config.exposed_ports);
}

TEST(OciConfig, SaysNothingOfASealThatIsNotThere) {
  spec::Manifest guest;
  guest.seal = spec::Seal::kSealed;
  guest.outputs = {"/out"};
  store::ImageRecord record;
  record.config.labels[spec::kGuestLabel] = spec::guest_label(guest);
  const auto read = parse_image_document(*oci_config(record, std::string(64, 'a')));
  ASSERT_TRUE(read);
  EXPECT_EQ((*spec::guest_of(read->config))->seal, spec::Seal::kDev);
  EXPECT_EQ((*spec::guest_of(read->config))->outputs, guest.outputs);
}

}  // namespace
}  // namespace mvm::image
