// SPDX-License-Identifier: Apache-2.0
#include "vmm/balloon/balloon_device.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/virtio_balloon.h>
#include <sys/mman.h>

#include "sys/io.h"
#include "vmm/virtio/testing_driver.h"

namespace mvm::vmm {
namespace {

using testing::HasSubstr;
using testing_driver::Buffer;
using testing_driver::Guest;

constexpr Gpa kPages = 0x80'0000;  // where the tests' pages lie
constexpr std::uint32_t kFirst = kPages >> 12;

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string stat(std::uint16_t tag, std::uint64_t value) {
  return bytes_of<std::uint16_t>({tag}) + bytes_of<std::uint64_t>({value});
}

BalloonOptions with_stats() {
  BalloonOptions out;
  out.stats_interval_s = 3600;
  return out;
}

BalloonOptions with_reporting() {
  BalloonOptions out;
  out.free_page_reporting = true;
  return out;
}

// A balloon in a guest whose pages all hold something.
class Balloon {
 public:
  explicit Balloon(const BalloonOptions& options = {})
      : device(BalloonDevice::create(options).value()), guest(*device) {
    EXPECT_TRUE(guest.activate().has_value());
    const auto ram = guest.memory().slice(kPages, 64 * 4096).value();
    std::fill(ram.begin(), ram.end(), std::byte{0x5a});
  }
  // One letter a page: x for pages that still hold what they held, . for pages that do not.
  std::string pages(std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i)
      out += guest.memory().read_object<std::uint8_t>(kPages + i * 4096 + 4095) == 0x5a ? 'x' : '.';
    return out;
  }
  bool inflate(const std::vector<std::uint32_t>& frames) {
    return guest.request(0, {guest.readable(bytes_of(frames))}).has_value();
  }

  std::unique_ptr<BalloonDevice> device;
  Guest guest;
};

TEST(BalloonDevice, GivesInflatedPagesBackWhateverTheirOrder) {
  Balloon balloon;
  EXPECT_TRUE(balloon.inflate({kFirst + 5, kFirst + 1, kFirst + 4, kFirst + 2, kFirst + 2}));
  EXPECT_EQ(balloon.pages(8), "x..x..xx");
  EXPECT_EQ(balloon.device->counters().inflated_pages, 5U);
  EXPECT_EQ(balloon.device->counters().release_failures, 0U);
  EXPECT_EQ(balloon.guest.interrupts, 1U);
}

TEST(BalloonDevice, TakesFrameNumbersThatAreSplitOverDescriptors) {
  Balloon balloon;
  const std::string frames = bytes_of<std::uint32_t>({kFirst, kFirst + 2});
  ASSERT_TRUE(balloon.guest.request(
      0, {balloon.guest.readable(frames.substr(0, 3)), balloon.guest.readable(frames.substr(3))}));
  EXPECT_EQ(balloon.pages(4), ".x.x");
}

TEST(BalloonDevice, InflatesMoreFramesThanItSortsAtOnce) {
  Balloon balloon;
  std::vector<std::uint32_t> frames;
  for (std::uint32_t i = 0; i < 1500; ++i) frames.push_back(kFirst + i % 32);
  EXPECT_TRUE(balloon.inflate(frames));
  EXPECT_EQ(balloon.pages(34), std::string(32, '.') + "xx");
  EXPECT_EQ(balloon.device->counters().inflated_pages, 1500U);
}

TEST(BalloonDevice, StopsAtAFrameThatIsNotMemoryAndReleasesNothing) {
  Balloon balloon;
  EXPECT_FALSE(balloon.inflate({kFirst, 0xffff'ffff, kFirst + 1}));
  ASSERT_TRUE(balloon.guest.failure.has_value());
  EXPECT_EQ(balloon.guest.failure->code(), Errc::kGuestFault);
  EXPECT_THAT(balloon.guest.failure->text(), HasSubstr("page frame 4294967295 is not memory"));
  EXPECT_EQ(balloon.pages(2), "xx");
}

TEST(BalloonDevice, StopsAtAnEndlessListOfFrames) {
  Balloon balloon;
  const Buffer huge{Guest::kData, 1 << 20, false};
  EXPECT_FALSE(balloon.guest.request(0, {huge}));
  ASSERT_TRUE(balloon.guest.failure.has_value());
  EXPECT_EQ(balloon.guest.failure->code(), Errc::kGuestFault);
}

TEST(BalloonDevice, IgnoresAFrameListThatTheDeviceWouldHaveToWrite) {
  Balloon balloon;
  ASSERT_TRUE(balloon.guest.request(0, {balloon.guest.writable(8)}));
  EXPECT_EQ(balloon.device->counters().inflated_pages, 0U);
}

TEST(BalloonDevice, DeflatedPagesCanBeUsedAgain) {
  Balloon balloon;
  ASSERT_TRUE(balloon.inflate({kFirst}));
  ASSERT_TRUE(
      balloon.guest.request(1, {balloon.guest.readable(bytes_of<std::uint32_t>({kFirst}))}));
  EXPECT_EQ(balloon.device->counters().deflated_pages, 1U);
  ASSERT_TRUE(balloon.guest.memory().write_object<std::uint8_t>(kPages, 7));
  EXPECT_EQ(balloon.guest.memory().read_object<std::uint8_t>(kPages), 7);
}

TEST(BalloonDevice, ReleasesReportedRangesWithoutTouchingTheirNeighbours) {
  Balloon balloon(with_reporting());
  ASSERT_TRUE(balloon.guest.request(
      2,
      {{kPages + 4096, 4096, true}, {kPages + 8192, 4096, true}, {kPages + 5 * 4096, 8192, true}}));
  EXPECT_EQ(balloon.pages(8), "x..xx..x");
  EXPECT_EQ(balloon.device->counters().reported_bytes, 4U * 4096);
}

TEST(BalloonDevice, ReleasesOnlyWholePagesOfAReportedRange) {
  Balloon balloon(with_reporting());
  ASSERT_TRUE(
      balloon.guest.request(2, {{kPages + 100, 3 * 4096, true}, {kPages + 20480, 64, true}}));
  EXPECT_EQ(balloon.pages(6), "x..xxx");
}

TEST(BalloonDevice, TheTargetIsToldToTheGuest) {
  Balloon balloon;
  ASSERT_TRUE(balloon.device->set_target(3).has_value());
  EXPECT_EQ(balloon.guest.config_changes, 1U);
  std::uint32_t pages = 0;
  balloon.device->read_config(0, std::as_writable_bytes(std::span(&pages, 1)));
  EXPECT_EQ(pages, 768U);
}

TEST(BalloonDevice, RefusesATargetBeyondAllPageNumbers) {
  Balloon balloon;
  EXPECT_EQ(balloon.device->set_target(1U << 24).error().code(), Errc::kInvalidArgument);
  EXPECT_TRUE(balloon.device->set_target((1U << 24) - 1).has_value());
  BalloonOptions options;
  options.target_mib = 1U << 24;
  EXPECT_EQ(BalloonDevice::create(options).error().code(), Errc::kInvalidArgument);
}

TEST(BalloonDevice, TheGuestTellsItsSizeAndCanWriteNothingElse) {
  Balloon balloon(with_stats());
  const std::array<std::uint32_t, 2> both = {9999, 512};
  const auto bytes = std::as_bytes(std::span(both));
  balloon.device->write_config(0, bytes);
  EXPECT_EQ(balloon.device->stats()->actual_pages, 0U);
  balloon.device->write_config(4, bytes.subspan(4));
  balloon.device->write_config(0, bytes.first(4));
  balloon.device->write_config(0xffff'fffc, bytes);
  const auto stats = balloon.device->stats().value();
  EXPECT_EQ(stats.actual_pages, 512U);
  EXPECT_EQ(stats.actual_mib, 2U);
  EXPECT_EQ(stats.target_pages, 0U);
}

TEST(BalloonDevice, OffersWhatItIsAskedFor) {
  BalloonOptions options;
  EXPECT_EQ(BalloonDevice::create(options).value()->features(), 0U);
  EXPECT_EQ(BalloonDevice::create(options).value()->queue_sizes().size(), 2U);
  options = {1, true, 5, true};
  const auto all = BalloonDevice::create(options).value();
  EXPECT_EQ(all->features(), 1U << VIRTIO_BALLOON_F_STATS_VQ |
                                 1U << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
                                 1U << VIRTIO_BALLOON_F_REPORTING);
  EXPECT_EQ(all->queue_sizes().size(), 4U);
}

TEST(BalloonDevice, AQueueThatWasNotAcceptedHasNoNumber) {
  BalloonOptions options = with_stats();
  options.free_page_reporting = true;
  const auto device = BalloonDevice::create(options).value();
  Guest guest(*device);
  ASSERT_TRUE(guest.activate(1U << VIRTIO_BALLOON_F_REPORTING).has_value());
  ASSERT_TRUE(guest.request(2, {{kPages, 4096, true}}));
  EXPECT_EQ(device->counters().reported_bytes, 4096U);
  EXPECT_EQ(device->counters().stats_updates, 0U);
}

TEST(BalloonDevice, KeepsTheStatisticsBufferAndReadsKnownTags) {
  Balloon balloon(with_stats());
  const std::string text = stat(VIRTIO_BALLOON_S_MEMFREE, 1234) + stat(999, 5) +
                           stat(VIRTIO_BALLOON_S_SWAP_IN, 0) + "cut off";
  EXPECT_FALSE(balloon.guest.request(2, {balloon.guest.readable(text)}));
  const auto stats = balloon.device->stats().value();
  EXPECT_EQ(stats.values[VIRTIO_BALLOON_S_MEMFREE], 1234U);
  EXPECT_EQ(stats.values[VIRTIO_BALLOON_S_SWAP_IN], 0U);
  EXPECT_FALSE(stats.values[VIRTIO_BALLOON_S_MEMTOT].has_value());
  EXPECT_EQ(kBalloonStatNames[VIRTIO_BALLOON_S_MEMFREE], "free_memory");
}

TEST(BalloonDevice, AsksForStatisticsWhenTheIntervalHasPassed) {
  Balloon balloon(with_stats());
  ASSERT_FALSE(balloon.guest.request(2, {balloon.guest.readable(stat(0, 1))}));
  // A new interval asks at once.
  ASSERT_TRUE(balloon.device->set_stats_interval(1).has_value());
  ASSERT_TRUE(balloon.guest.driver(2).take_used().has_value());
  ASSERT_FALSE(balloon.guest.request(2, {balloon.guest.readable(stat(0, 2))}));
  EXPECT_TRUE(
      balloon.guest.run_until([&] { return balloon.guest.driver(2).take_used().has_value(); }));
  EXPECT_EQ(balloon.device->stats()->values[0], 2U);
  EXPECT_EQ(balloon.device->counters().stats_updates, 2U);
}

TEST(BalloonDevice, StopsAtASecondStatisticsBuffer) {
  Balloon balloon(with_stats());
  ASSERT_FALSE(balloon.guest.request(2, {balloon.guest.readable(stat(0, 1))}));
  ASSERT_FALSE(balloon.guest.request(2, {balloon.guest.readable(stat(0, 2))}));
  ASSERT_TRUE(balloon.guest.failure.has_value());
  EXPECT_EQ(balloon.guest.failure->code(), Errc::kGuestFault);
}

TEST(BalloonDevice, StatisticsCanBeTurnedNeitherOnNorOff) {
  Balloon without;
  EXPECT_EQ(without.device->stats().error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(without.device->set_stats_interval(1).error().code(), Errc::kInvalidArgument);
  EXPECT_TRUE(without.device->set_stats_interval(0).has_value());
  Balloon with(with_stats());
  EXPECT_EQ(with.device->set_stats_interval(0).error().code(), Errc::kInvalidArgument);
}

TEST(BalloonDevice, ServesALongQueueInTurns) {
  Balloon balloon;
  for (std::uint32_t i = 0; i < 200; ++i)
    balloon.guest.driver(0).add(
        {balloon.guest.readable(bytes_of<std::uint32_t>({kFirst + i % 64}))});
  balloon.guest.notify(0);
  EXPECT_LT(balloon.device->counters().inflated_pages, 200U);
  EXPECT_TRUE(
      balloon.guest.run_until([&] { return balloon.device->counters().inflated_pages == 200; }));
  EXPECT_EQ(balloon.pages(64), std::string(64, '.'));
}

TEST(BalloonDevice, RestoresWhatItSavedAndTakesTheStatisticsBufferAgain) {
  Balloon balloon(with_stats());
  ASSERT_TRUE(balloon.device->set_target(7).has_value());
  ASSERT_FALSE(balloon.guest.request(2, {balloon.guest.readable(stat(4, 42))}));
  ByteWriter out;
  balloon.device->save(out);
  balloon.guest.queue(2).save(out);
  const auto bytes = out.take();

  BalloonDevice& saved = *balloon.device;
  const auto restored = BalloonDevice::create(with_stats()).value();
  ByteReader in(bytes);
  ASSERT_TRUE(restored->restore(in).has_value());
  EXPECT_EQ(restored->options().target_mib, 7U);
  EXPECT_EQ(restored->stats()->values, saved.stats()->values);

  // The same memory and queues, under the new device.
  saved.reset();
  Queue& queue = balloon.guest.queue(2);
  ASSERT_TRUE(queue.restore(in, balloon.guest.memory(), false).has_value());
  ASSERT_TRUE(restored->activate(balloon.guest).has_value());
  restored->notify(2);
  EXPECT_EQ(restored->counters().stats_updates, 1U);
  ASSERT_TRUE(restored->set_stats_interval(5).has_value());
  EXPECT_TRUE(balloon.guest.driver(2).take_used().has_value());
  restored->reset();
}

TEST(BalloonDevice, RefusesASavedStateThatIsNotItsOwn) {
  Balloon balloon(with_stats());
  ByteWriter out;
  balloon.device->save(out);
  const auto bytes = out.take();
  ByteReader whole(bytes);
  EXPECT_EQ(BalloonDevice::create({}).value()->restore(whole).error().code(), Errc::kCorrupt);
  const auto part = std::span(bytes).first(bytes.size() - 1);
  ByteReader cut(part);
  EXPECT_EQ(balloon.device->restore(cut).error().code(), Errc::kCorrupt);
}

// Without it, memory of a restored guest would stay allocated.
TEST(PageRelease, FreesThePrivateCopyOfAPageOfAFile) {
  sys::UniqueFd file(::memfd_create("memory", MFD_CLOEXEC));
  ASSERT_TRUE(sys::write_full(file.get(), std::string(4 * 4096, 'f')).has_value());
  const GuestMemory memory = GuestMemory::map_file(file.get(), Bytes{4 * 4096}).value();
  ASSERT_TRUE(memory.write_object<std::uint8_t>(4096, 'w'));
  std::array<std::uint32_t, 1> frames = {1};
  const auto released = release_frames(memory, frames);
  ASSERT_TRUE(released.has_value());
  EXPECT_EQ(released->bytes, 4096U);
  EXPECT_EQ(memory.read_object<std::uint8_t>(4096), 'f') << "the file's content shows through";
}

}  // namespace
}  // namespace mvm::vmm
