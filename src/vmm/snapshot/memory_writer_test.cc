// SPDX-License-Identifier: Apache-2.0
#include "vmm/snapshot/memory_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <random>

#include "sys/files.h"
#include "vmm/snapshot/testing_memory.h"

namespace mvm::vmm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class MemoryFiles : public testing::Test {
 protected:
  // Beside the sources, which are on a disk; /tmp may be memory.
  sys::TempDir dir_ = sys::TempDir::create("/var/tmp", "mvm-memory-").value();
  TestMemory memory_{600, 200};
  SnapshotId id_ = SnapshotId::random();

  std::string path(const std::string& name) const { return dir_.path() + "/" + name; }
  SnapshotInfo state() const {
    return {.program = {}, .memory_id = id_, .memory_size = Bytes{memory_.source().size()}};
  }
  void write_full(const std::string& name, MemoryWriteOptions options = {}) {
    auto pending = write_memory(path(name), memory_.source(), id_, options);
    ASSERT_TRUE(pending) << pending.error().text();
    ASSERT_TRUE(pending->commit());
  }
  // The pages go to `name`; the id of the content changes.
  Result<> write_changes(const std::string& name, const DirtyPages& dirty,
                         const MemoryFile* own = nullptr) {
    const SnapshotId next = SnapshotId::random();
    auto pending = MVM_TRY(write_memory_changes(path(name), memory_.source(),
                                                {.dirty = dirty, .parent = id_, .own = own}, next));
    MVM_TRY(pending.commit());
    id_ = next;
    return {};
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path()))
      out.push_back(entry.path().filename());
    return out;
  }
};

TEST_F(MemoryFiles, HoldTheMemoryAndFitToTheirState) {
  memory_.fill(0, 1);
  memory_.fill(599, 2);
  memory_.fill(600, 3);
  memory_.mark(799);
  write_full("mem");
  EXPECT_EQ(memory_in(path("mem"), memory_), memory_.content());
  const auto file = MemoryFile::open_for(state(), path("mem")).value();
  EXPECT_EQ(file.trailer().regions, memory_.source().regions());
  EXPECT_EQ(file.memory_size().count, 800 * kSnapshotPage);
  EXPECT_THAT(names(), ElementsAre("mem"));
}

TEST_F(MemoryFiles, HoldTheSameWhereverThePagesAreLookedUp) {
  std::mt19937 random(3);
  for (std::uint64_t page = 0; page < memory_.pages(); ++page) {
    if (random() % 3 == 0) memory_.fill(page, static_cast<int>(random() % 3));
    if (random() % 7 == 0) memory_.mark(page);
  }
  write_full("default");
  write_full("kept", {.caching = MemoryCaching::kKeep});
  const sys::UniqueFd unreadable(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  write_full("without-pagemap", {.pagemap_fd = unreadable.get()});
  memory_.source().untouched_is_zero = false;
  write_full("looked-at");
  for (const std::string& name : names())
    EXPECT_EQ(memory_in(path(name), memory_), memory_.content()) << name;
}

TEST_F(MemoryFiles, HaveHolesForPagesOfZero) {
  for (std::uint64_t page = 0; page < 64; ++page) memory_.fill(100 + page, 5);
  for (std::uint64_t page = 200; page < 400; ++page) memory_.fill(page, 0);  // touched, but zero
  write_full("mem");
  EXPECT_LE(allocated(path("mem")), (64 + 1 + 8) * kSnapshotPage);
  EXPECT_EQ(memory_in(path("mem"), memory_), memory_.content());
}

TEST_F(MemoryFiles, DoNotTouchWhatTheGuestNeverTouched) {
  memory_.fill(10, 1);
  write_full("mem");
  std::vector<unsigned char> resident(600);
  void* const first = memory_.page(0);
  ASSERT_EQ(::mincore(first, 600 * kSnapshotPage, resident.data()), 0);
  EXPECT_EQ(std::count(resident.begin(), resident.end(), 1), 1);
}

TEST_F(MemoryFiles, AreRefusedWithAStateOfAnotherSnapshot) {
  write_full("mem");
  SnapshotInfo other = state();
  other.memory_id = SnapshotId::random();
  EXPECT_EQ(MemoryFile::open_for(other, path("mem")).error().text(),
            path("mem") + " belongs to another snapshot");
  other = state();
  other.memory_size = Bytes{other.memory_size.count - kSnapshotPage};
  EXPECT_THAT(MemoryFile::open_for(other, path("mem")).error().text(), HasSubstr("holds 3.1M"));
}

TEST_F(MemoryFiles, AreRefusedWhenTruncatedGrownOrForeign) {
  write_full("mem");
  const auto size = static_cast<off_t>(std::filesystem::file_size(path("mem")));
  for (const off_t wrong :
       {off_t{0}, off_t{1}, off_t{4096}, size / 2, size - 4096, size - 1, size + 1, size + 4096}) {
    ASSERT_EQ(::truncate(path("mem").c_str(), wrong), 0);
    const auto opened = MemoryFile::open_for(state(), path("mem"));
    ASSERT_FALSE(opened) << wrong;
    EXPECT_EQ(opened.error().code(), Errc::kCorrupt);
    EXPECT_THAT(opened.error().text(), HasSubstr("truncated")) << wrong;
    write_full("mem");
  }
  ASSERT_TRUE(sys::write_file(path("foreign"), std::string(static_cast<std::size_t>(size), 'f')));
  EXPECT_THAT(MemoryFile::open_for(state(), path("foreign")).error().text(),
              HasSubstr("is not the memory of a snapshot"));
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_THAT(MemoryFile::open(path("fifo")).error().text(), HasSubstr("not a regular file"));
}

TEST_F(MemoryFiles, AreRefusedWithAnyBitOfTheTrailerFlipped) {
  MemoryTrailer trailer;
  trailer.id = id_;
  trailer.regions = memory_.source().regions();
  const auto good = trailer.encode();
  ASSERT_TRUE(MemoryTrailer::parse("/x", good, trailer.file_size()));
  for (std::size_t at = 0; at < good.size(); ++at) {
    auto bad = good;
    bad[at] ^= std::byte{0x10};
    ASSERT_FALSE(MemoryTrailer::parse("/x", bad, trailer.file_size())) << at;
  }
  auto newer = good;
  newer[8] = std::byte{2};
  EXPECT_EQ(MemoryTrailer::parse("/x", newer, trailer.file_size()).error().text(),
            "/x was made by format version 2, this program reads 1");
}

TEST_F(MemoryFiles, AreNotMadeOfUnusableRegions) {
  const auto refused = [&](SnapshotRegion region) {
    memory_.source().parts[1].region = region;
    return write_memory(path("mem"), memory_.source(), id_).error().code();
  };
  EXPECT_EQ(refused({0, 4096, 600 * 4096}), Errc::kInvalidArgument);           // overlaps
  EXPECT_EQ(refused({1ULL << 32, 100, 600 * 4096}), Errc::kInvalidArgument);   // half a page
  EXPECT_EQ(refused({1ULL << 32, 4096, 601 * 4096}), Errc::kInvalidArgument);  // a gap
  EXPECT_EQ(refused({~4095ULL, 8192, 600 * 4096}), Errc::kInvalidArgument);    // past the end
  EXPECT_EQ(refused({1ULL << 32, 1ULL << 60, 600 * 4096}), Errc::kInvalidArgument);
}

TEST_F(MemoryFiles, ReplaceEachOtherWithoutHarmToWhoHasTheOldOneMapped) {
  memory_.fill(3, 1);
  write_full("mem");
  const auto old = MemoryFile::open_for(state(), path("mem")).value();
  const std::string before = memory_.content();
  memory_.fill(3, 2);
  id_ = SnapshotId::random();
  write_full("mem");
  std::string still(before.size(), 0);
  ASSERT_EQ(::pread(old.fd(), still.data(), still.size(), 0), static_cast<ssize_t>(still.size()));
  EXPECT_EQ(still, before);
  EXPECT_TRUE(MemoryFile::open_for(state(), path("mem")));
}

TEST_F(MemoryFiles, LeaveNothingWithoutCommit) {
  {
    ASSERT_TRUE(write_memory(path("mem"), memory_.source(), id_));
  }
  EXPECT_TRUE(names().empty());
}

TEST_F(MemoryFiles, NeedAParentToHoldChangesOnly) {
  const DirtyPages dirty(memory_);
  id_ = {};
  EXPECT_EQ(write_changes("diff", dirty).error().code(), Errc::kInvalidArgument);
  id_ = SnapshotId::random();
  EXPECT_EQ(write_memory_changes(path("diff"), memory_.source(), {{}, id_}, id_).error().code(),
            Errc::kInvalidArgument);
}

TEST_F(MemoryFiles, OfADiffHoldTheChangedPagesOnly) {
  for (std::uint64_t page = 0; page < memory_.pages(); ++page) memory_.fill(page, 1);
  DirtyPages dirty(memory_);
  dirty.set(7);
  dirty.set(650);
  memory_.fill(650, 0);
  ASSERT_TRUE(write_changes("diff", dirty));
  EXPECT_LE(allocated(path("diff")), (1 + 2 + 8) * kSnapshotPage);
  const auto file = MemoryFile::open(path("diff")).value();
  const auto bitmap = file.bitmap().value();
  EXPECT_EQ(bitmap[0], 1U << 7);
  EXPECT_EQ(bitmap[650 / 64], 1ULL << 650 % 64);
  EXPECT_EQ(MemoryFile::open_for(state(), path("diff")).error().code(), Errc::kInvalidArgument);
}

TEST_F(MemoryFiles, OfADiffAreRefusedWithADamagedBitmap) {
  DirtyPages dirty(memory_);
  dirty.set(7);
  const SnapshotId base = id_;
  write_full("base");
  ASSERT_TRUE(write_changes("diff", dirty));
  const sys::UniqueFd fd = sys::open_file(path("diff"), O_RDWR).value();
  const auto wrong = std::byte{0xff};
  ASSERT_TRUE(sys::write_at(fd.get(), std::span(&wrong, 1), 800 * kSnapshotPage + 3));
  EXPECT_THAT(merge_diff(path("base"), path("diff")).error().text(), HasSubstr("page bitmap"));
  EXPECT_EQ(MemoryFile::open(path("base")).value().trailer().id, base);
}

// Changes random pages, some of them to zero.
DirtyPages scramble(TestMemory& memory, unsigned seed) {
  std::mt19937 random(seed);
  DirtyPages dirty(memory);
  for (std::uint64_t page = 0; page < memory.pages(); ++page) {
    if (random() % 4 != 0) continue;
    memory.fill(page, random() % 3 == 0 ? 0 : static_cast<int>(random() % 255 + 1));
    dirty.set(page);
  }
  return dirty;
}

TEST_F(MemoryFiles, AreTheWholeMemoryWhenADiffIsMergedIntoItsBase) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    scramble(memory_, seed);
    write_full("base");
    const DirtyPages dirty = scramble(memory_, seed + 100);
    ASSERT_TRUE(write_changes("diff", dirty));
    const auto merged = merge_diff(path("base"), path("diff"));
    ASSERT_TRUE(merged) << merged.error().text();
    EXPECT_EQ(memory_in(path("base"), memory_), memory_.content()) << seed;
    EXPECT_TRUE(MemoryFile::open_for(state(), path("base")));
    ASSERT_EQ(::unlink(path("diff").c_str()), 0);
  }
}

TEST_F(MemoryFiles, OfADiffGrowInPlaceAndMergeAsOne) {
  scramble(memory_, 1);
  write_full("base");
  ASSERT_TRUE(write_changes("diff", scramble(memory_, 2)));
  ASSERT_TRUE(write_changes("diff", scramble(memory_, 3)));
  ASSERT_TRUE(merge_diff(path("base"), path("diff")));
  EXPECT_EQ(memory_in(path("base"), memory_), memory_.content());
  EXPECT_TRUE(MemoryFile::open_for(state(), path("base")));
}

TEST_F(MemoryFiles, AreBroughtUpToDateInPlace) {
  scramble(memory_, 1);
  write_full("mem");
  const SnapshotInfo old_state = state();
  for (unsigned seed = 2; seed < 6; ++seed) {
    const auto written = write_changes("mem", scramble(memory_, seed));
    ASSERT_TRUE(written) << written.error().text();
    EXPECT_EQ(memory_in(path("mem"), memory_), memory_.content());
    EXPECT_TRUE(MemoryFile::open_for(state(), path("mem")));
  }
  EXPECT_THAT(MemoryFile::open_for(old_state, path("mem")).error().text(),
              HasSubstr("belongs to another snapshot"));
}

TEST_F(MemoryFiles, OfOthersAreNotBroughtUpToDate) {
  write_full("mem");
  const std::string before = sys::read_file(path("mem")).value();
  id_ = SnapshotId::random();
  const Error error = write_changes("mem", scramble(memory_, 1)).error();
  EXPECT_EQ(error.code(), Errc::kInvalidArgument);
  EXPECT_THAT(error.text(), HasSubstr("is not the snapshot that this one continues"));
  EXPECT_EQ(sys::read_file(path("mem")).value(), before);
  ASSERT_TRUE(sys::write_file(path("text"), "notes"));
  EXPECT_EQ(write_changes("text", DirtyPages(memory_)).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(sys::read_file(path("text")).value(), "notes");
}

TEST_F(MemoryFiles, OfAnotherBaseAreNotMerged) {
  write_full("base");
  ASSERT_TRUE(write_changes("diff", scramble(memory_, 1)));
  ASSERT_TRUE(write_changes("later", scramble(memory_, 2)));
  EXPECT_THAT(merge_diff(path("base"), path("later")).error().text(),
              HasSubstr("is not a diff of " + path("base")));
  EXPECT_THAT(merge_diff(path("base"), path("base")).error().text(), HasSubstr("is no diff"));
  ASSERT_TRUE(merge_diff(path("base"), path("diff")));
  ASSERT_TRUE(merge_diff(path("base"), path("later")));
  EXPECT_EQ(memory_in(path("base"), memory_), memory_.content());
}

TEST_F(MemoryFiles, ThatAnotherVmHasMappedAreBusy) {
  write_full("mem");
  const auto own = MemoryFile::open(path("mem")).value();
  DirtyPages dirty(memory_);
  dirty.set(1);
  {
    const auto other = MemoryFile::open(path("mem")).value();
    EXPECT_EQ(write_changes("mem", dirty, &own).error().code(), Errc::kBusy);
  }
  ASSERT_TRUE(write_changes("mem", dirty, &own));
  // The own lock is shared again: others may open, and still nobody may write.
  EXPECT_TRUE(MemoryFile::open(path("mem")));
  EXPECT_EQ(write_changes("mem", dirty).error().code(), Errc::kBusy);
}

TEST_F(MemoryFiles, AreBusyWhileTheyAreBeingWritten) {
  write_full("mem");
  DirtyPages dirty(memory_);
  dirty.set(1);
  auto pending = write_memory_changes(path("mem"), memory_.source(), {dirty, id_}, id_);
  ASSERT_TRUE(pending);
  EXPECT_TRUE(pending->in_place());
  EXPECT_EQ(MemoryFile::open(path("mem")).error().code(), Errc::kBusy);
  ASSERT_TRUE(pending->commit());
  EXPECT_TRUE(MemoryFile::open_for(state(), path("mem")));
}

TEST_F(MemoryFiles, WrittenInPlaceAndNotCommittedAreRefused) {
  write_full("mem");
  DirtyPages dirty(memory_);
  dirty.set(1);
  {
    ASSERT_TRUE(write_memory_changes(path("mem"), memory_.source(), {dirty, id_}, id_));
  }
  EXPECT_THAT(MemoryFile::open(path("mem")).error().text(), HasSubstr("is incomplete"));
}

TEST_F(MemoryFiles, PastTheLimitOfAFileAreAnError) {
  memory_.fill(1, 1);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1 << 20, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto pending = write_memory(path("mem"), memory_.source(), id_);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(pending);
  EXPECT_THAT(pending.error().text(), HasSubstr(path("mem")));
  EXPECT_TRUE(names().empty());
}

// A file system of one mebibyte; needs root. It has no O_DIRECT on older kernels.
class MemoryFilesOnFullDisk : public MemoryFiles {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "mounting a tmpfs needs root";
    ASSERT_TRUE(sys::make_dirs(path("disk")));
    if (::mount("tmpfs", path("disk").c_str(), "tmpfs", 0, "size=1m") != 0)
      GTEST_SKIP() << "this container may not mount: " << std::strerror(errno);
  }
  void TearDown() override { ::umount2(path("disk").c_str(), MNT_DETACH); }
};

TEST_F(MemoryFilesOnFullDisk, SaySoAndKeepTheOldOne) {
  memory_.fill(5, 1);
  write_full("disk/mem");
  const SnapshotInfo old = state();
  for (std::uint64_t page = 0; page < memory_.pages(); ++page) memory_.fill(page, 1);
  const Error error = write_memory(path("disk/mem"), memory_.source(), id_).error();
  EXPECT_EQ(error.code(), Errc::kNoSpace);
  EXPECT_THAT(error.text(), HasSubstr("writing " + path("disk/mem")));
  EXPECT_TRUE(MemoryFile::open_for(old, path("disk/mem")));
}

TEST_F(MemoryFilesOnFullDisk, AreNotTouchedInPlaceWhenTheChangesDoNotFit) {
  memory_.fill(5, 1);
  write_full("disk/mem");
  const std::string before = memory_.content();
  DirtyPages dirty(memory_);
  for (std::uint64_t page = 0; page < memory_.pages(); ++page) {
    memory_.fill(page, 2);
    dirty.set(page);
  }
  EXPECT_EQ(write_changes("disk/mem", dirty).error().code(), Errc::kNoSpace);
  EXPECT_TRUE(MemoryFile::open_for(state(), path("disk/mem")));
  EXPECT_EQ(memory_in(path("disk/mem"), memory_), before);
}

TEST(PageRuns, AreCutAtRegionsAndAtTheirLimit) {
  TestMemory memory(PageRuns::kMaxRun / kSnapshotPage + 2, 2);
  for (std::uint64_t page = 0; page < memory.pages(); ++page) memory.mark(page);
  PageRuns runs(memory.source(), std::nullopt, -1);
  std::vector<std::uint64_t> lengths;
  while (const auto run = runs.next()) {
    EXPECT_FALSE(run->zero);
    EXPECT_EQ(run->host, memory.source().at(run->file_offset));
    lengths.push_back(run->length / kSnapshotPage);
  }
  EXPECT_THAT(lengths, ElementsAre(PageRuns::kMaxRun / kSnapshotPage, 2, 2));
}

TEST(PageRuns, SeeASingleBitAnywhereInAPage) {
  alignas(8) std::array<std::byte, kSnapshotPage> page{};
  EXPECT_TRUE(is_zero_page(page.data()));
  for (std::size_t at = 0; at < page.size(); ++at) {
    page[at] = std::byte{0x80};
    ASSERT_FALSE(is_zero_page(page.data())) << at;
    page[at] = std::byte{0};
  }
}

}  // namespace
}  // namespace mvm::vmm
