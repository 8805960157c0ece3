// SPDX-License-Identifier: Apache-2.0
#include "tar/tar_pipe.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <thread>

#include "sys/files.h"
#include "sys/io.h"

namespace mvm::tar {
namespace {

using testing::HasSubstr;
using Archive = std::unique_ptr<archive, int (*)(archive*)>;

std::string pattern(std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>(i * 7 + i / 4096);
  return out;
}

struct Member {
  std::string name;
  std::string content;
};

class TarPipe : public testing::Test {
 protected:
  static void add_header(archive* out, const std::string& name, std::size_t size) {
    archive_entry* entry = ::archive_entry_new();
    ::archive_entry_set_pathname(entry, name.c_str());
    ::archive_entry_set_filetype(entry, AE_IFREG);
    ::archive_entry_set_perm(entry, 0644);
    ::archive_entry_set_size(entry, static_cast<la_int64_t>(size));
    ASSERT_EQ(::archive_write_header(out, entry), ARCHIVE_OK);
    ::archive_entry_free(entry);
  }
  // A regular file in the pipe; with `moved` its content goes past libarchive.
  static void add(archive* out, TarPipeWriter& writer, const Member& member, bool moved) {
    add_header(out, member.name, member.content.size());
    const sys::UniqueFd file = sys::memory_file("content", member.content).value();
    if (moved) {
      const auto done =
          writer.move_from(out, file.get(), static_cast<std::int64_t>(member.content.size()));
      ASSERT_TRUE(done) << done.error().text();
    } else {
      ASSERT_EQ(::archive_write_data(out, member.content.data(), member.content.size()),
                static_cast<la_ssize_t>(member.content.size()));
    }
  }
  // Writes all members into the pipe, those of kLargeFile and more past libarchive.
  void write(const std::vector<Member>& members) {
    writer_ = std::thread([this, members] {
      TarPipeWriter writer(pipe_.write_end.get());
      const Archive out(::archive_write_new(), ::archive_write_free);
      ::archive_write_set_format_pax(out.get());
      ASSERT_TRUE(writer.open(out.get()));
      for (const Member& member : members)
        add(out.get(), writer, member, member.content.size() >= std::size_t{kLargeFile});
      EXPECT_EQ(::archive_write_close(out.get()), ARCHIVE_OK);
      pipe_.write_end.reset();
    });
  }
  // Reads them, by whichever way `moved` says.
  std::vector<Member> read(const std::function<bool(std::int64_t)>& moved) {
    std::vector<Member> out;
    TarPipeReader reader(pipe_.read_end.get());
    const Archive in(::archive_read_new(), ::archive_read_free);
    ::archive_read_support_format_tar(in.get());
    EXPECT_TRUE(reader.open(in.get()));
    archive_entry* entry = nullptr;
    while (::archive_read_next_header(in.get(), &entry) == ARCHIVE_OK) {
      Member member{::archive_entry_pathname(entry), {}};
      const la_int64_t size = ::archive_entry_size(entry);
      if (moved(size)) {
        const sys::UniqueFd file = sys::memory_file("content", "").value();
        EXPECT_TRUE(reader.can_move());
        const auto done = reader.move_to(file.get(), size);
        EXPECT_TRUE(done) << done.error().text();
        member.content.resize(static_cast<std::size_t>(size));
        EXPECT_EQ(::pread(file.get(), member.content.data(), member.content.size(), 0),
                  static_cast<ssize_t>(size));
      } else {
        reader.expect(size);
        member.content.resize(static_cast<std::size_t>(size));
        EXPECT_EQ(::archive_read_data(in.get(), member.content.data(), member.content.size()),
                  static_cast<la_ssize_t>(size));
      }
      out.push_back(std::move(member));
    }
    return out;
  }
  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
  void TearDown() override {
    pipe_.read_end.reset();
    if (writer_.joinable()) writer_.join();
  }
  static void expect_same(const std::vector<Member>& got, const std::vector<Member>& wanted) {
    ASSERT_EQ(got.size(), wanted.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].name, wanted[i].name);
      EXPECT_TRUE(got[i].content == wanted[i].content) << got[i].name;
    }
  }

  sys::Pipe pipe_ = sys::make_pipe().value();
  std::thread writer_;
  const std::vector<Member> mixed_ = {{"small", "a few bytes"},
                                      {"large", pattern(3'000'001)},
                                      {"empty", ""},
                                      {"blocks", pattern(2 << 20)},
                                      {"odd", pattern(70'001)},
                                      {std::string(150, 'n') + "/long", pattern((1 << 20) + 511)},
                                      {"last", "end"}};
};

TEST_F(TarPipe, CarriesLargeAndSmallFilesInTheirOrder) {
  write(mixed_);
  expect_same(read([](std::int64_t size) { return size >= kLargeFile; }), mixed_);
}

TEST_F(TarPipe, IsAnOrdinaryTarStreamToAReaderThatMovesNothing) {
  write(mixed_);
  expect_same(read([](std::int64_t) { return false; }), mixed_);
}

TEST_F(TarPipe, MovesFilesOfAnySize) {
  write(mixed_);
  expect_same(read([](std::int64_t size) { return size > 0; }), mixed_);
}

TEST_F(TarPipe, FillsAFileThatHasShrunkWithZeros) {
  writer_ = std::thread([this] {
    TarPipeWriter writer(pipe_.write_end.get());
    const Archive out(::archive_write_new(), ::archive_write_free);
    ::archive_write_set_format_pax(out.get());
    ASSERT_TRUE(writer.open(out.get()));
    add_header(out.get(), "shrunk", 2'000'000);
    const sys::UniqueFd file = sys::memory_file("content", std::string(5000, 'x')).value();
    ASSERT_TRUE(writer.move_from(out.get(), file.get(), 2'000'000));
    ::archive_write_close(out.get());
    pipe_.write_end.reset();
  });
  const auto got = read([](std::int64_t) { return true; });
  ASSERT_EQ(got.size(), 1U);
  EXPECT_TRUE(got[0].content == std::string(5000, 'x') + std::string(1'995'000, '\0'));
}

TEST_F(TarPipe, SaysThatTheStreamEndsInsideAFile) {
  writer_ = std::thread([this] {
    TarPipeWriter writer(pipe_.write_end.get());
    const Archive out(::archive_write_new(), ::archive_write_free);
    ::archive_write_set_format_ustar(out.get());
    ASSERT_TRUE(writer.open(out.get()));
    add_header(out.get(), "cut", 2'000'000);
    ASSERT_TRUE(writer.flush());
    ASSERT_TRUE(sys::write_full(pipe_.write_end.get(), std::string_view("half")));
    pipe_.write_end.reset();
  });
  TarPipeReader reader(pipe_.read_end.get());
  const Archive in(::archive_read_new(), ::archive_read_free);
  ::archive_read_support_format_tar(in.get());
  ASSERT_TRUE(reader.open(in.get()));
  archive_entry* entry = nullptr;
  ASSERT_EQ(::archive_read_next_header(in.get(), &entry), ARCHIVE_OK);
  const sys::UniqueFd file = sys::memory_file("content", "").value();
  const auto done = reader.move_to(file.get(), 2'000'000);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code(), Errc::kCorrupt);
  EXPECT_THAT(done.error().text(), HasSubstr("ends inside a file"));
}

TEST_F(TarPipe, NamesAFullDisk) {
  write({{"large", pattern(2 << 20)}});
  TarPipeReader reader(pipe_.read_end.get());
  const Archive in(::archive_read_new(), ::archive_read_free);
  ::archive_read_support_format_tar(in.get());
  ASSERT_TRUE(reader.open(in.get()));
  archive_entry* entry = nullptr;
  ASSERT_EQ(::archive_read_next_header(in.get(), &entry), ARCHIVE_OK);
  const sys::UniqueFd full = sys::open_file("/dev/full", O_WRONLY).value();
  EXPECT_EQ(reader.move_to(full.get(), 2 << 20).error().errnum(), ENOSPC);
  // The writer is not to wait for us for ever.
  std::vector<std::byte> rest(1 << 20);
  while (sys::read_some(pipe_.read_end.get(), rest).value_or(0) > 0) {
  }
}

}  // namespace
}  // namespace mvm::tar
