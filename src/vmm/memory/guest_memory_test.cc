// SPDX-License-Identifier: Apache-2.0
#include "vmm/memory/guest_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "sys/io.h"

namespace mvm::vmm {
namespace {

GuestMemory small() { return GuestMemory::create(mebibytes(1)).value(); }

TEST(GuestMemory, IsZeroAtFirst) {
  const GuestMemory memory = small();
  EXPECT_EQ(memory.read_object<std::uint64_t>(0x8000).value(), 0U);
}

TEST(GuestMemory, KeepsWhatIsWritten) {
  const GuestMemory memory = small();
  EXPECT_TRUE(memory.write_object<std::uint32_t>(0xffffc, 0x12345678));
  EXPECT_EQ(memory.read_object<std::uint32_t>(0xffffc).value(), 0x12345678U);
}

TEST(GuestMemory, GivesNothingBeyondItsEnd) {
  const GuestMemory memory = small();
  EXPECT_FALSE(memory.slice(0x100000, 0).has_value());
  EXPECT_FALSE(memory.slice(0xfffff, 2).has_value());
  EXPECT_FALSE(memory.slice(0, 0x100001).has_value());
  EXPECT_FALSE(memory.slice(~0ULL, 1).has_value());
  EXPECT_FALSE(memory.slice(0x1000, ~0ULL).has_value());
  EXPECT_FALSE(memory.write_object<std::uint64_t>(0xffffc, 1));
  EXPECT_TRUE(memory.slice(0xfffff, 1).has_value());
}

TEST(GuestMemory, LeavesTheGapBelowFourGibibytesToDevices) {
  const GuestMemory memory = GuestMemory::create(gibibytes(4)).value();
  ASSERT_EQ(memory.regions().size(), 2U);
  EXPECT_EQ(memory.regions()[1].start, kMmioGapEnd);
  EXPECT_EQ(memory.regions()[0].size + memory.regions()[1].size, gibibytes(4).count);
  EXPECT_EQ(memory.regions()[1].file_offset, kMmioGapStart);
  EXPECT_FALSE(memory.slice(kMmioGapStart, 1).has_value());
  EXPECT_FALSE(memory.slice(kMmioGapStart - 1, 2).has_value());
  EXPECT_TRUE(memory.write_object<std::uint8_t>(kMmioGapEnd, 7));
}

TEST(GuestMemory, RefusesASizeThatIsNoNumberOfPages) {
  EXPECT_EQ(GuestMemory::create(Bytes{0}).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(GuestMemory::create(Bytes{5000}).error().code(), Errc::kInvalidArgument);
}

TEST(GuestMemory, NotesThePagesThatTheMonitorWrites) {
  GuestMemory memory = small();
  memory.write_object<std::uint8_t>(0, 1);
  memory.track_dirty(true);
  memory.write_object<std::uint64_t>(0x2ffc, 1);  // across two pages
  memory.mark_dirty(0xff000, 1);
  const std::vector<std::uint64_t> dirty = memory.take_dirty();
  EXPECT_THAT(dirty, testing::ElementsAre(0b1100U, 0U, 0U, 1ULL << 63));
  EXPECT_THAT(memory.take_dirty(), testing::Each(0U));
}

TEST(GuestMemory, OfAFileReadsItAndWritesNothingBack) {
  const sys::UniqueFd file = sys::memory_file("memory", std::string(8192, 'x')).value();
  const GuestMemory memory = GuestMemory::map_file(file.get(), kibibytes(8)).value();
  EXPECT_EQ(memory.read_object<char>(5000).value(), 'x');
  EXPECT_TRUE(memory.write_object(5000, 'y'));
  std::array<std::byte, 1> byte;
  ASSERT_EQ(::pread(file.get(), byte.data(), 1, 5000), 1);
  EXPECT_EQ(byte[0], std::byte{'x'});
}

TEST(GuestMemory, RefusesAFileThatIsTooShort) {
  const sys::UniqueFd file = sys::memory_file("memory", std::string(4096, 'x')).value();
  EXPECT_EQ(GuestMemory::map_file(file.get(), kibibytes(8)).error().code(), Errc::kCorrupt);
}

}  // namespace
}  // namespace mvm::vmm
