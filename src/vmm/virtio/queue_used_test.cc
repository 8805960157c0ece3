// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/testing_queue.h"

namespace mvm::vmm {
namespace {

using namespace testing_queue;

// ---- a request's bytes

TEST_F(QueueTest, ReadsAndWritesAcrossDescriptors) {
  const std::string text = "abcdefgh";
  memory.write(kData, std::as_bytes(std::span(text)));
  driver.add(
      {{kData, 3, false}, {kData + 3, 5, false}, {kData + 100, 2, true}, {kData + 200, 9, true}});
  ASSERT_TRUE(pop());
  std::array<char, 8> out{};
  EXPECT_EQ(chain.read(2, std::as_writable_bytes(std::span(out))), 6U);
  EXPECT_EQ(std::string(out.data()), "cdefgh");
  EXPECT_EQ(chain.read(8, std::as_writable_bytes(std::span(out))), 0U);
  EXPECT_EQ(chain.read(~0ULL, std::as_writable_bytes(std::span(out))), 0U);
  EXPECT_EQ(chain.write(1, std::as_bytes(std::span(text))), 8U);
  EXPECT_EQ(memory.read_object<char>(kData + 101), 'a');
  EXPECT_EQ(memory.read_object<char>(kData + 200), 'b');
  EXPECT_EQ(chain.write(10, std::as_bytes(std::span(text))), 1U);
}

TEST_F(QueueTest, SlicesEndWhereTheChainOrTheRoomEnds) {
  driver.add({{kData, 4, false}, {kData + 16, 4, false}, {kData + 32, 4, false}});
  ASSERT_TRUE(pop());
  std::array<iovec, 4> parts;
  ASSERT_EQ(chain.readable_slice(2, 4, parts), 2U);
  EXPECT_EQ(parts[0].iov_base, memory.slice(kData + 2, 1)->data());
  EXPECT_EQ(parts[0].iov_len, 2U);
  EXPECT_EQ(parts[1].iov_base, memory.slice(kData + 16, 1)->data());
  EXPECT_EQ(parts[1].iov_len, 2U);
  EXPECT_EQ(chain.readable_slice(0, ~0ULL, parts), 3U);
  EXPECT_EQ(chain.readable_slice(0, 12, std::span(parts).first(2)), 2U);
  EXPECT_EQ(chain.readable_slice(12, 1, parts), 0U);
  EXPECT_EQ(chain.readable_slice(0, 0, parts), 0U);
  EXPECT_EQ(chain.writable_slice(0, 1, parts), 0U);
}

// ---- giving requests back

TEST_F(QueueTest, GivesRequestsBackWithWhatWasWritten) {
  driver.add({{kData, 4, true}});
  driver.add({{kData, 4, true}});
  Chain second;
  ASSERT_TRUE(pop());
  ASSERT_TRUE(queue.pop(second).value());
  EXPECT_FALSE(driver.take_used().has_value());
  queue.push(second, 4);
  queue.push(chain, 0);
  const auto used = driver.take_used();
  EXPECT_EQ(used->head, 1U);
  EXPECT_EQ(used->written, 4U);
  EXPECT_EQ(driver.take_used()->head, 0U);
}

TEST_F(QueueTest, GoesOnWhereItsIndicesWrapAt65536) {
  for (int i = 0; i < 70'000; ++i) {
    const std::uint16_t head = driver.add({{kData, 4, true}});
    ASSERT_TRUE(pop());
    ASSERT_EQ(chain.head(), head);
    queue.push(chain, static_cast<std::uint32_t>(i));
    const auto used = driver.take_used();
    ASSERT_TRUE(used.has_value());
    ASSERT_EQ(used->head, head);
    ASSERT_EQ(used->written, static_cast<std::uint32_t>(i));
    ASSERT_TRUE(queue.needs_interrupt());
  }
}

TEST_F(QueueTest, InterruptsOnceForSeveralRequestsAndOnlyWhenTheDriverWantsIt) {
  EXPECT_FALSE(queue.needs_interrupt());
  for (int i = 0; i < 3; ++i) driver.add({{kData, 4, true}});
  ASSERT_TRUE(pop());
  queue.push(chain, 4);
  ASSERT_TRUE(pop());
  queue.push(chain, 4);
  EXPECT_TRUE(queue.needs_interrupt());
  EXPECT_FALSE(queue.needs_interrupt());
  driver.set_no_interrupt(true);
  ASSERT_TRUE(pop());
  queue.push(chain, 4);
  EXPECT_FALSE(queue.needs_interrupt());
}

TEST_F(EventIndexQueue, InterruptsWhenTheUsedIndexPassesTheDriversEvent) {
  driver.set_used_event(2);
  serve(2);
  EXPECT_FALSE(queue.needs_interrupt());
  serve(1);
  EXPECT_TRUE(queue.needs_interrupt());
  serve(4);
  EXPECT_FALSE(queue.needs_interrupt());
}

TEST_F(EventIndexQueue, ComparesEventsAcrossTheWrapAt65536) {
  driver.set_used_event(0x7fff);
  serve(0xfffe);
  EXPECT_TRUE(queue.needs_interrupt());
  driver.set_used_event(0xffff);
  serve(1);
  EXPECT_FALSE(queue.needs_interrupt());
  serve(1);
  EXPECT_TRUE(queue.needs_interrupt());
  driver.set_used_event(1);
  serve(1);
  EXPECT_FALSE(queue.needs_interrupt());
  serve(1);
  EXPECT_TRUE(queue.needs_interrupt());
}

// ---- notifications

TEST_F(QueueTest, AsksForNotificationsByTheFlag) {
  queue.disarm();
  EXPECT_TRUE(driver.no_notify());
  EXPECT_FALSE(queue.arm());
  EXPECT_FALSE(driver.no_notify());
  driver.add({{kData, 4, true}});
  EXPECT_TRUE(queue.arm());
}

TEST_F(EventIndexQueue, AsksForNotificationsByTheEventIndex) {
  serve(3);
  EXPECT_EQ(driver.available_event(), 0);
  EXPECT_FALSE(queue.arm());
  EXPECT_EQ(driver.available_event(), 3);
  queue.disarm();
  EXPECT_EQ(driver.available_event(), 3);
  EXPECT_FALSE(driver.no_notify());
  driver.add({{kData, 4, true}});
  EXPECT_TRUE(queue.arm());
}

// ---- dirty pages

TEST_F(QueueTest, NotesTheRingAndTheBytesThatWereWrittenAsDirty) {
  driver.add({{kData, 4096, true}, {kData + 8192, 4096, true}, {kData + 16384, 1, true}});
  ASSERT_TRUE(pop());
  memory.track_dirty(true);
  queue.push(chain, 4097);
  const auto pages = memory.take_dirty();
  const auto dirty = [&](Gpa gpa) {
    return (pages[gpa / 4096 / 64] >> (gpa / 4096 % 64) & 1) != 0;
  };
  EXPECT_TRUE(dirty(driver.setup().used));
  EXPECT_TRUE(dirty(kData));
  EXPECT_TRUE(dirty(kData + 8192));
  EXPECT_FALSE(dirty(kData + 4096));
  EXPECT_FALSE(dirty(kData + 16384));
}

TEST_F(QueueTest, NotesItsFlagsAsDirty) {
  memory.track_dirty(true);
  queue.disarm();
  EXPECT_TRUE(is_dirty(driver.setup().used));
  EXPECT_FALSE(queue.arm());
  EXPECT_TRUE(is_dirty(driver.setup().used));
}

TEST_F(EventIndexQueue, NotesItsEventIndexAsDirty) {
  memory.track_dirty(true);
  EXPECT_FALSE(queue.arm());
  EXPECT_TRUE(is_dirty(driver.setup().used));
}

// ---- saving

std::vector<std::byte> saved(const Queue& queue) {
  ByteWriter out;
  queue.save(out);
  return out.take();
}

TEST_F(QueueTest, GoesOnAfterARestoreWhereItWasSaved) {
  driver.add({{kData, 4, true}});
  ASSERT_TRUE(pop());
  queue.push(chain, 4);
  driver.add({{kData, 8, true}});
  const auto bytes = saved(queue);
  Queue restored(8);
  ByteReader in(bytes);
  ASSERT_TRUE(restored.restore(in, memory, false).has_value());
  EXPECT_TRUE(in.done());
  EXPECT_TRUE(restored.needs_interrupt());
  ASSERT_TRUE(restored.pop(chain).value());
  EXPECT_EQ(chain.head(), 1);
  restored.push(chain, 8);
  EXPECT_EQ(driver.take_used()->head, 0U);
  EXPECT_EQ(driver.take_used()->head, 1U);
}

TEST_F(QueueTest, RestoresAQueueThatWasNotEnabledAsSuch) {
  Queue idle(8);
  idle.setup() = driver.setup();
  const auto bytes = saved(idle);
  Queue restored(8);
  ByteReader in(bytes);
  ASSERT_TRUE(restored.restore(in, memory, false).has_value());
  EXPECT_FALSE(restored.enabled());
  EXPECT_EQ(restored.setup().available, driver.setup().available);
}

TEST_F(QueueTest, RefusesEverySavedQueueThatIsCutOff) {
  const auto bytes = saved(queue);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    Queue restored(8);
    const auto part = std::span(bytes).first(length);
    ByteReader in(part);
    EXPECT_EQ(restored.restore(in, memory, false).error().code(), Errc::kCorrupt) << length;
    EXPECT_FALSE(restored.enabled());
  }
}

TEST_F(QueueTest, RefusesASavedQueueThatDoesNotFit) {
  const auto bytes = saved(queue);
  Queue smaller(4);
  ByteReader in(bytes);
  EXPECT_EQ(smaller.restore(in, memory, false).error().code(), Errc::kCorrupt);
  const GuestMemory little = GuestMemory::create(Bytes{0x1'0000}).value();
  Queue restored(8);
  ByteReader again(bytes);
  EXPECT_EQ(restored.restore(again, little, false).error().code(), Errc::kCorrupt);
}

}  // namespace
}  // namespace mvm::vmm
