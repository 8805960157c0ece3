// SPDX-License-Identifier: Apache-2.0
#include "vmm/block/block_device.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/virtio_blk.h>
#include <sys/stat.h>

#include "vmm/block/testing_disk.h"

namespace mvm::vmm {
namespace {

using namespace testing_disk;
using testing::HasSubstr;

BlockOptions read_only() {
  BlockOptions out;
  out.read_only = true;
  return out;
}

BlockOptions writeback() {
  BlockOptions out;
  out.cache = BlockCache::kWriteback;
  return out;
}

// Everything that a guest sees is the same whatever engine carries it out.
class BlockDeviceWith : public testing::TestWithParam<EngineKind> {
 protected:
  void SetUp() override {
    if (GetParam() == EngineKind::kAsync && !make_async_engine().has_value())
      GTEST_SKIP() << "this kernel has no io_uring for us";
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, BlockDeviceWith,
                         testing::Values(EngineKind::kSync, EngineKind::kAsync),
                         [](const auto& engine) {
                           return engine.param == EngineKind::kSync ? "Sync" : "Async";
                         });

TEST_P(BlockDeviceWith, ReadsSectorsIntoScatteredBuffers) {
  Disk disk(GetParam());
  const Buffer first = disk.guest->writable(100);
  const Buffer second = disk.guest->writable(924);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_IN, 27), {first, second}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk.text(first) + disk.text(second), sector('b') + sector('c'));
  EXPECT_EQ(disk.device->counters().read_bytes, 1024U);
  EXPECT_EQ(disk.guest->interrupts, 1U);
}

TEST_P(BlockDeviceWith, WritesSectorsFromScatteredBuffers) {
  Disk disk(GetParam());
  const std::string data = sector('X') + sector('Y');
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_OUT, 3), {disk.guest->readable(data.substr(0, 7)),
                                                         disk.guest->readable(data.substr(7))}),
            VIRTIO_BLK_S_OK);
  std::string expected = pattern();
  expected.replace(3 * kSectorSize, data.size(), data);
  EXPECT_EQ(disk.content(), expected);
}

TEST_P(BlockDeviceWith, TakesAHeaderAndAStatusThatShareDescriptorsWithTheData) {
  Disk disk(GetParam());
  const std::string head = header(VIRTIO_BLK_T_IN, 1);
  const Buffer answer = disk.guest->writable(kSectorSize + 1);
  const auto read = disk.request(
      {disk.guest->readable(head.substr(0, 5)), disk.guest->readable(head.substr(5)), answer});
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->written, kSectorSize + 1);
  EXPECT_EQ(disk.text(answer), sector('b') + '\0');

  const Buffer status = disk.guest->writable(1);
  ASSERT_TRUE(
      disk.request({disk.guest->readable(header(VIRTIO_BLK_T_OUT, 0) + sector('Z')), status}));
  EXPECT_EQ(disk.text(status), std::string(1, '\0'));
  EXPECT_EQ(disk.content().substr(0, kSectorSize), sector('Z'));
}

TEST_P(BlockDeviceWith, ReadsTheLastSectorAndNothingBeyondIt) {
  Disk disk(GetParam());
  const Buffer data = disk.guest->writable(kSectorSize);
  const Buffer two = disk.guest->writable(2 * kSectorSize);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_IN, kSectors - 1), {data}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_IN, kSectors - 1), {two}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_IN, kSectors), {data}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_IN, ~0ULL), {data}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_IN, ~0ULL / 512 + 1), {data}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.device->counters().bad_requests, 4U);
}

TEST_P(BlockDeviceWith, WritesNothingBeyondTheLastSector) {
  Disk disk(GetParam());
  const Buffer data = disk.guest->readable(sector('X'));
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_OUT, kSectors), {data}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_OUT, ~0ULL), {data}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.content(), pattern());
}

TEST_P(BlockDeviceWith, RefusesDataThatAreNoWholeSectors) {
  Disk disk(GetParam());
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_IN, 0), {disk.guest->writable(511)}),
            VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_IN, 0)), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_OUT, 0), {disk.guest->readable("short")}),
            VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.content(), pattern());
}

TEST_P(BlockDeviceWith, RefusesDataInTheWrongDirection) {
  Disk disk(GetParam());
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_IN, 0), {disk.guest->readable(sector('X'))}),
            VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_OUT, 0), {disk.guest->writable(kSectorSize)}),
            VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.content(), pattern());
}

TEST_P(BlockDeviceWith, RefusesAWriteToAReadOnlyDisk) {
  Disk disk(GetParam(), read_only());
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_OUT, 0), {disk.guest->readable(sector('X'))}),
            VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_DISCARD, 0), {disk.guest->readable(range(0, 1, 0))}),
            VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(
      disk.status_of(header(VIRTIO_BLK_T_WRITE_ZEROES, 0), {disk.guest->readable(range(0, 1, 0))}),
      VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.content(), pattern());
}

TEST_P(BlockDeviceWith, AnswersARequestThatItDoesNotKnowWithUnsupported) {
  Disk disk(GetParam());
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_SECURE_ERASE, 0)), VIRTIO_BLK_S_UNSUPP);
  EXPECT_EQ(disk.status_of(header(0xffff'ffff, 0)), VIRTIO_BLK_S_UNSUPP);
}

TEST_P(BlockDeviceWith, AnswersAHeaderThatIsTooShort) {
  Disk disk(GetParam());
  EXPECT_EQ(disk.status_of("short"), VIRTIO_BLK_S_UNSUPP);
}

TEST_P(BlockDeviceWith, StopsAtARequestWithoutAStatusByte) {
  Disk disk(GetParam());
  EXPECT_FALSE(disk.guest->request(0, {disk.guest->readable(header(VIRTIO_BLK_T_IN, 0))}));
  ASSERT_TRUE(disk.guest->failure.has_value());
  EXPECT_EQ(disk.guest->failure->code(), Errc::kGuestFault);
  EXPECT_THAT(disk.guest->failure->text(), HasSubstr("status byte"));
}

TEST_P(BlockDeviceWith, StopsAtABrokenQueue) {
  Disk disk(GetParam());
  disk.guest->driver(0).set_descriptor(0, 0xdead'0000'0000, 16, 0, 0);
  disk.guest->driver(0).make_available(0);
  disk.guest->notify(0);
  ASSERT_TRUE(disk.guest->failure.has_value());
  EXPECT_EQ(disk.guest->failure->code(), Errc::kGuestFault);
}

TEST_P(BlockDeviceWith, FlushesWithAWritebackCache) {
  Disk disk(GetParam(), writeback());
  EXPECT_NE(disk.device->features() & 1ULL << VIRTIO_BLK_F_FLUSH, 0U);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_FLUSH, 0)), VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk.device->counters().flushes, 1U);
}

TEST_P(BlockDeviceWith, OffersNoFlushWithAnUnsafeCache) {
  Disk disk(GetParam());
  EXPECT_EQ(disk.device->features() & 1ULL << VIRTIO_BLK_F_FLUSH, 0U);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_FLUSH, 0)), VIRTIO_BLK_S_UNSUPP);
}

TEST_P(BlockDeviceWith, TellsItsSerialNumber) {
  Disk disk(GetParam());
  const Buffer serial = disk.guest->writable(VIRTIO_BLK_ID_BYTES);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_GET_ID, 0), {serial}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk.text(serial), std::string("mvm-scratch") + std::string(9, '\0'));
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_GET_ID, 0), {disk.guest->writable(19)}),
            VIRTIO_BLK_S_IOERR);
}

TEST_P(BlockDeviceWith, TakesTheFilesNumberForASerialWhenItsIdIsTooLong) {
  BlockOptions options;
  options.id = "a-name-of-21-letters-";
  Disk disk(GetParam(), std::move(options));
  const Buffer serial = disk.guest->writable(VIRTIO_BLK_ID_BYTES);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_GET_ID, 0), {serial}), VIRTIO_BLK_S_OK);
  struct stat st{};
  ASSERT_EQ(::stat(disk.path().c_str(), &st), 0);
  EXPECT_THAT(disk.text(serial), HasSubstr(std::to_string(st.st_dev)));
}

TEST_P(BlockDeviceWith, DiscardsSpaceOfTheFile) {
  Disk disk(GetParam());
  const Buffer ranges = disk.guest->readable(range(0, 1024, 0) + range(1536, 512, 0));
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_DISCARD, 0), {ranges}), VIRTIO_BLK_S_OK);
  struct stat st{};
  ASSERT_EQ(::stat(disk.path().c_str(), &st), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(st.st_size), kSectors * kSectorSize);
  EXPECT_LT(st.st_blocks, 1024);
  EXPECT_EQ(disk.content().substr(1024 * 512, 512 * 512), pattern().substr(1024 * 512, 512 * 512));
}

TEST_P(BlockDeviceWith, WritesZeroesWithAndWithoutUnmapping) {
  Disk disk(GetParam());
  const Buffer ranges = disk.guest->readable(range(1, 2, 0) + range(5, 4, 1) + range(9, 0, 0));
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_WRITE_ZEROES, 0), {ranges}), VIRTIO_BLK_S_OK);
  std::string expected = pattern();
  expected.replace(1 * kSectorSize, 2 * kSectorSize, 2 * kSectorSize, '\0');
  expected.replace(5 * kSectorSize, 4 * kSectorSize, 4 * kSectorSize, '\0');
  EXPECT_EQ(disk.content(), expected);
}

struct BadRanges {
  const char* name;
  std::uint32_t type;
  std::string data;
  int status;
};

TEST_P(BlockDeviceWith, ChecksAllRangesBeforeItTouchesOne) {
  std::string many;
  for (std::uint32_t i = 0; i <= kMaxRanges; ++i) many += range(i, 1, 0);
  const std::string good = range(0, 8, 0);
  const std::vector<BadRanges> cases = {
      {"beyond the end", VIRTIO_BLK_T_DISCARD, good + range(kSectors - 1, 2, 0), 1},
      {"overflow", VIRTIO_BLK_T_DISCARD, good + range(~0ULL, 2, 0), 1},
      {"overflow", VIRTIO_BLK_T_WRITE_ZEROES, good + range(~0ULL / 512 + 1, 1, 0), 1},
      {"huge", VIRTIO_BLK_T_DISCARD, good + range(0, 0xffff'ffff, 0), 1},
      {"huge", VIRTIO_BLK_T_WRITE_ZEROES, good + range(0, kMaxZeroSectors + 1, 0), 1},
      {"flag", VIRTIO_BLK_T_DISCARD, good + range(8, 1, 1), 2},
      {"flag", VIRTIO_BLK_T_WRITE_ZEROES, good + range(8, 1, 2), 2},
      {"too many", VIRTIO_BLK_T_DISCARD, many, 1},
      {"cut off", VIRTIO_BLK_T_DISCARD, good + "12345678", 1},
      {"none", VIRTIO_BLK_T_DISCARD, "", 1},
  };
  Disk disk(GetParam());
  for (const BadRanges& c : cases) {
    const std::string head = header(c.type, 0) + c.data;
    EXPECT_EQ(disk.status_of(head), c.status) << c.name;
  }
  EXPECT_EQ(disk.content(), pattern());
}

TEST_P(BlockDeviceWith, AnswersAReadOfAFileThatHasShrunkWithAnError) {
  Disk disk(GetParam());
  ASSERT_EQ(::truncate(disk.path().c_str(), 700), 0);
  const Buffer data = disk.guest->writable(2 * kSectorSize);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_IN, 0), {data}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(disk.device->counters().io_errors, 1U);
}

TEST_P(BlockDeviceWith, ServesEveryRequestOfAFullQueue) {
  Disk disk(GetParam());
  std::vector<Buffer> data;
  for (std::uint32_t i = 0; i < 85; ++i) {
    data.push_back(disk.guest->writable(kSectorSize));
    disk.guest->driver(0).add(
        {disk.guest->readable(header(VIRTIO_BLK_T_IN, i)), data.back(), disk.guest->writable(1)});
  }
  disk.guest->notify(0);
  std::size_t answered = 0;
  ASSERT_TRUE(disk.guest->run_until([&] {
    while (disk.guest->driver(0).take_used()) ++answered;
    return answered == data.size();
  }));
  for (std::size_t i = 0; i < data.size(); ++i)
    EXPECT_EQ(disk.text(data[i]), sector(static_cast<char>('a' + i % 26))) << i;
}

TEST_P(BlockDeviceWith, QuiesceAnswersEverythingThatIsUnderWay) {
  Disk disk(GetParam());
  for (std::uint32_t i = 0; i < 20; ++i)
    disk.guest->driver(0).add({disk.guest->readable(header(VIRTIO_BLK_T_IN, i)),
                               disk.guest->writable(kSectorSize), disk.guest->writable(1)});
  disk.guest->notify(0);
  disk.device->quiesce();
  std::size_t answered = 0;
  while (disk.guest->driver(0).take_used()) ++answered;
  EXPECT_EQ(answered, 20U);
}

TEST_P(BlockDeviceWith, MayBeResetWithRequestsUnderWayAndStartedAgain) {
  Disk disk(GetParam());
  for (std::uint32_t i = 0; i < 20; ++i)
    disk.guest->driver(0).add({disk.guest->readable(header(VIRTIO_BLK_T_IN, i)),
                               disk.guest->writable(4 * kSectorSize), disk.guest->writable(1)});
  disk.guest->notify(0);
  disk.device->reset();
  Guest again(*disk.device);
  ASSERT_TRUE(again.activate().has_value());
  const Buffer status = again.writable(1);
  auto used = again.request(0, {again.readable(header(VIRTIO_BLK_T_OUT, 0) + sector('R')), status});
  EXPECT_TRUE(used.has_value());
  EXPECT_EQ(disk.content().substr(0, kSectorSize), sector('R'));
}

TEST_P(BlockDeviceWith, AnotherFileIsAnnouncedAndServed) {
  Disk disk(GetParam());
  const std::string other = disk.directory.path() + "/other";
  ASSERT_TRUE(sys::write_file(other, sector('Q') + sector('R')).has_value());
  ASSERT_TRUE(disk.device->update_file(other).has_value());
  EXPECT_EQ(disk.guest->config_changes, 1U);
  std::uint64_t capacity = 0;
  disk.device->read_config(0, std::as_writable_bytes(std::span(&capacity, 1)));
  EXPECT_EQ(capacity, 2U);
  const Buffer data = disk.guest->writable(kSectorSize);
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_IN, 1), {data}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk.text(data), sector('R'));
}

TEST_P(BlockDeviceWith, KeepsItsFileWhenTheOtherCannotBeOpened) {
  Disk disk(GetParam());
  const auto done = disk.device->update_file(disk.directory.path() + "/missing");
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), Errc::kNotFound);
  EXPECT_EQ(disk.device->path(), disk.path());
  EXPECT_EQ(disk.status_of(header(VIRTIO_BLK_T_IN, 0), {disk.guest->writable(kSectorSize)}), 0);
}

TEST_P(BlockDeviceWith, ALimitMakesRequestsWaitAndLosesNone) {
  Clock::time_point now{std::chrono::hours(1)};
  BlockOptions options;
  options.limits.ops = BucketLimits{2, 0, 20};
  options.now = [&now] { return now; };
  Disk disk(GetParam(), std::move(options));
  for (char letter : {'A', 'B', 'C', 'D'})
    disk.guest->driver(0).add({disk.guest->readable(header(VIRTIO_BLK_T_OUT, 0) + sector(letter)),
                               disk.guest->writable(1)});
  disk.guest->notify(0);
  EXPECT_EQ(disk.content()[0], 'B');
  EXPECT_EQ(disk.device->counters().throttled, 1U);
  disk.guest->notify(0);
  EXPECT_EQ(disk.device->counters().throttled, 1U) << "a notification must not go past the timer";
  now += Millis(10);
  EXPECT_TRUE(disk.guest->run_until([&] { return disk.device->counters().writes == 3; }));
  now += Millis(10);
  EXPECT_TRUE(disk.guest->run_until([&] { return disk.device->counters().writes == 4; }));
  EXPECT_EQ(disk.content()[0], 'D');
}

TEST_P(BlockDeviceWith, LiftingALimitLetsWaitingRequestsGo) {
  BlockOptions options;
  options.limits.bandwidth = BucketLimits{512, 0, 3'600'000};
  Disk disk(GetParam(), std::move(options));
  for (char letter : {'A', 'B'})
    disk.guest->driver(0).add({disk.guest->readable(header(VIRTIO_BLK_T_OUT, 0) + sector(letter)),
                               disk.guest->writable(1)});
  disk.guest->notify(0);
  EXPECT_EQ(disk.content()[0], 'A');
  disk.device->update_limits({BucketLimits{}, {}});
  EXPECT_EQ(disk.content()[0], 'B');
  EXPECT_EQ(disk.device->limits(), RateLimits{});
}

TEST_P(BlockDeviceWith, RestoresWhatItSaved) {
  BlockOptions options = writeback();
  options.limits.ops = BucketLimits{7, 0, 1000};
  Disk disk(GetParam(), std::move(options));
  ByteWriter out;
  disk.device->save(out);
  const auto bytes = out.take();

  const auto restored = BlockDevice::create_empty();
  ByteReader in(bytes);
  ASSERT_TRUE(restored->restore(in).has_value());

  EXPECT_TRUE(in.done());
  EXPECT_EQ(restored->id(), "mvm-scratch");
  EXPECT_EQ(restored->path(), disk.path());
  EXPECT_EQ(restored->engine(), GetParam());
  EXPECT_EQ(restored->limits(), disk.device->limits());
  EXPECT_EQ(restored->features(), disk.device->features());
  Guest guest(*restored);
  ASSERT_TRUE(guest.activate().has_value());
  EXPECT_TRUE(guest.request(
      0, {guest.readable(header(VIRTIO_BLK_T_OUT, 0) + sector('N')), guest.writable(1)}));
  EXPECT_EQ(disk.content().substr(0, kSectorSize), sector('N'));
}

TEST_P(BlockDeviceWith, RestoresOntoTheFileItWasMadeWithThoughTheSavedOneIsGone) {
  Disk saved(GetParam(), writeback());
  ByteWriter out;
  saved.device->save(out);
  const auto bytes = out.take();
  const Disk other(GetParam(), writeback());
  ASSERT_EQ(::unlink(saved.path().c_str()), 0);
  ByteReader in(bytes);
  ASSERT_TRUE(other.device->restore(in).has_value());
  EXPECT_EQ(other.device->path(), other.path());
}

}  // namespace
}  // namespace mvm::vmm
