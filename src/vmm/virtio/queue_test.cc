// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/testing_queue.h"

namespace mvm::vmm {
namespace {

using namespace testing_queue;

// ---- setting up

Result<> enabled_with(std::uint16_t size, Gpa descriptors, Gpa available, Gpa used) {
  const GuestMemory memory = GuestMemory::create(mebibytes(1)).value();
  Queue queue(256);
  queue.setup() = {size, true, descriptors, available, used};
  return queue.enable(memory, false);
}

TEST(Queue, TakesOnlySizesThatArePowersOfTwoUpToItsOwn) {
  EXPECT_TRUE(enabled_with(1, 0, 0x2000, 0x3000).has_value());
  EXPECT_TRUE(enabled_with(256, 0, 0x2000, 0x3000).has_value());
  for (const std::uint16_t size : std::to_array<std::uint16_t>({0, 3, 255, 512, 0x8000}))
    EXPECT_EQ(enabled_with(size, 0, 0x2000, 0x3000).error().code(), Errc::kGuestFault) << size;
}

TEST(Queue, RefusesRingsThatAreNotAligned) {
  EXPECT_EQ(enabled_with(8, 8, 0x2000, 0x3000).error().code(), Errc::kGuestFault);
  EXPECT_EQ(enabled_with(8, 0, 0x2001, 0x3000).error().code(), Errc::kGuestFault);
  EXPECT_EQ(enabled_with(8, 0, 0x2000, 0x3002).error().code(), Errc::kGuestFault);
}

TEST(Queue, RefusesRingsThatReachBeyondMemoryByTheirLastByte) {
  constexpr Gpa kEnd = 1 << 20;
  EXPECT_TRUE(enabled_with(8, kEnd - 128, 0x2000, 0x3000).has_value());
  EXPECT_FALSE(enabled_with(8, kEnd - 112, 0x2000, 0x3000).has_value());
  EXPECT_TRUE(enabled_with(8, 0, kEnd - 22, 0x3000).has_value());
  EXPECT_FALSE(enabled_with(8, 0, kEnd - 20, 0x3000).has_value());
  EXPECT_TRUE(enabled_with(8, 0, 0x2000, kEnd - 72).has_value());
  EXPECT_FALSE(enabled_with(8, 0, 0x2000, kEnd - 68).has_value());
  EXPECT_FALSE(enabled_with(8, ~0ULL & ~15ULL, 0x2000, 0x3000).has_value());
}

TEST(Queue, DoesNothingUntilItIsEnabled) {
  Queue queue(8);
  Chain chain;
  EXPECT_FALSE(queue.enabled());
  EXPECT_FALSE(queue.pop(chain).value());
  EXPECT_FALSE(queue.arm());
  EXPECT_FALSE(queue.needs_interrupt());
  queue.disarm();
  queue.push(chain, 0);
  EXPECT_FALSE(queue.needs_interrupt());
}

TEST_F(QueueTest, TouchesNothingOnceItIsDisabledAndKeepsItsRegisters) {
  driver.add({{kData, 1, true}});
  ASSERT_TRUE(pop());
  queue.disable();
  queue.push(chain, 1);
  EXPECT_FALSE(driver.take_used().has_value());
  EXPECT_FALSE(pop());
  EXPECT_EQ(queue.setup().size, 8);
  EXPECT_EQ(queue.setup().used, driver.setup().used);
}

// ---- taking requests

TEST_F(QueueTest, GivesRequestsInTheOrderInWhichTheyWereMadeAvailable) {
  EXPECT_FALSE(pop());
  driver.add({{kData, 16, false}, {kData + 4096, 32, true}, {kData + 8192, 64, true}});
  driver.add({{kData, 1, false}});
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.head(), 0);
  EXPECT_EQ(chain.readable().size(), 1U);
  EXPECT_EQ(chain.readable_bytes(), 16U);
  EXPECT_EQ(chain.writable().size(), 2U);
  EXPECT_EQ(chain.writable_bytes(), 96U);
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.head(), 3);
  EXPECT_TRUE(chain.writable().empty());
  EXPECT_FALSE(pop());
}

TEST_F(QueueTest, AddressesOfAChainPointIntoTheGuestsMemory) {
  driver.add({{kData, 16, false}, {kData + 4096, 32, true}});
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.readable()[0].iov_base, memory.slice(kData, 1)->data());
  EXPECT_EQ(chain.writable()[0].iov_base, memory.slice(kData + 4096, 1)->data());
}

TEST_F(QueueTest, WhatTheGuestChangesInARequestAfterItWasTakenDoesNotCount) {
  driver.add({{kData, 16, true}});
  ASSERT_TRUE(pop());
  driver.set_descriptor(0, ~0ULL, 0xffff'ffff, kNext, 7);
  EXPECT_EQ(chain.writable_bytes(), 16U);
  EXPECT_EQ(chain.write(0, std::array<std::byte, 32>{}), 16U);
}

TEST_F(QueueTest, ARequestThatWasTakenBackIsTheNextOneAgain) {
  driver.add({{kData, 16, false}});
  driver.add({{kData, 16, false}});
  ASSERT_TRUE(pop());
  queue.undo_pop();
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.head(), 0);
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.head(), 1);
}

TEST_F(QueueTest, AFaultDoesNotTakeTheRequest) {
  driver.set_descriptor(0, kData, 0, 0, 0);
  driver.make_available(0);
  EXPECT_NE(fault(), "");
  EXPECT_NE(fault(), "");
}

TEST_F(QueueTest, TheSameHeadTwiceIsTwoRequests) {
  driver.set_descriptor(3, kData, 8, kWrite, 0);
  driver.make_available(3);
  driver.make_available(3);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(pop());
    EXPECT_EQ(chain.head(), 3);
    queue.push(chain, 8);
    EXPECT_EQ(driver.take_used()->head, 3U);
  }
  EXPECT_FALSE(pop());
}

TEST_F(QueueTest, AChainMayBeAsLongAsTheQueue) {
  driver.add(std::vector<Buffer>(8, Buffer{kData, 8, true}));
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.writable_bytes(), 64U);
}

TEST_F(QueueTest, RefusesAnAvailableIndexThatIsMoreThanTheQueueAhead) {
  driver.set_available_index(9);
  EXPECT_NE(fault().find("more requests available"), std::string::npos);
}

TEST_F(QueueTest, RefusesAnAvailableIndexThatGoesBack) {
  driver.add({{kData, 8, true}});
  ASSERT_TRUE(pop());
  driver.set_available_index(0);
  EXPECT_NE(fault().find("more requests available"), std::string::npos);
}

TEST_F(QueueTest, RefusesAHeadBeyondTheTable) {
  driver.make_available(8);
  EXPECT_NE(fault().find("index beyond the table"), std::string::npos);
}

TEST_F(QueueTest, RefusesASuccessorBeyondTheTable) {
  driver.set_descriptor(0, kData, 8, kNext, 8);
  driver.make_available(0);
  EXPECT_NE(fault().find("index beyond the table"), std::string::npos);
}

TEST_F(QueueTest, RefusesAChainThatGoesRoundInACircle) {
  driver.set_descriptor(0, kData, 8, kNext, 1);
  driver.set_descriptor(1, kData, 8, kNext, 0);
  driver.make_available(0);
  EXPECT_NE(fault().find("without end"), std::string::npos);
}

TEST_F(QueueTest, RefusesAReadableDescriptorAfterAWritableOne) {
  driver.add({{kData, 8, true}, {kData, 8, false}});
  EXPECT_NE(fault().find("readable descriptor after"), std::string::npos);
}

TEST_F(QueueTest, RefusesADescriptorOfNoBytes) {
  driver.add({{kData, 0, true}});
  EXPECT_NE(fault().find("no bytes"), std::string::npos);
}

TEST_F(QueueTest, RefusesDescriptorsThatReachOutOfMemory) {
  constexpr Gpa kEnd = 2 << 20;
  const std::vector<Buffer> bad = {
      {kEnd - 8, 9, true},        {kEnd, 1, true},
      {~0ULL, 2, true},           {0x8000'0000'0000'0000, 0xffff'ffff, true},
      {kData, 0xffff'ffff, true}, {kMmioGapStart, 4, false}};
  for (const Buffer& buffer : bad) {
    driver.set_available_index(0);
    driver.set_descriptor(0, buffer.address, buffer.length,
                          buffer.writable ? kWrite : std::uint16_t{0}, 0);
    driver.make_available(0);
    EXPECT_NE(fault().find("outside of memory"), std::string::npos) << buffer.address;
  }
}

// ---- indirect tables

TEST_F(QueueTest, FollowsAnIndirectTable) {
  indirect({{kData, 8, kNext, 2}, {0, 0, 0, 0}, {kData + 8, 4, kWrite, 0}});
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.head(), 0);
  EXPECT_EQ(chain.readable_bytes(), 8U);
  EXPECT_EQ(chain.writable_bytes(), 4U);
}

TEST_F(QueueTest, FollowsAnIndirectTableAfterDirectDescriptors) {
  memory.write_object(kTable, RawDescriptor{kData + 8, 4, kWrite, 0});
  driver.set_descriptor(0, kData, 8, kNext, 1);
  driver.set_descriptor(1, kTable, 16, kIndirect, 0);
  driver.make_available(0);
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.readable_bytes(), 8U);
  EXPECT_EQ(chain.writable_bytes(), 4U);
}

TEST_F(QueueTest, IgnoresTheWriteFlagOfAnIndirectDescriptor) {
  indirect({{kData, 8, 0, 0}}, 16, kIndirect | kWrite);
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.readable_bytes(), 8U);
}

TEST_F(QueueTest, TakesAnIndirectTableAtAnyAddress) {
  memory.write_object(kTable + 1, RawDescriptor{kData, 8, kWrite, 0});
  driver.set_descriptor(0, kTable + 1, 16, kIndirect, 0);
  driver.make_available(0);
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.writable_bytes(), 8U);
}

TEST_F(QueueTest, RefusesIndirectTablesOfOddLengths) {
  for (const std::uint32_t bytes : {0U, 1U, 15U, 17U, 257U * 16U, 0xffff'fff0U}) {
    driver.set_available_index(0);
    indirect({{kData, 8, 0, 0}}, bytes);
    EXPECT_NE(fault().find("an indirect table of"), std::string::npos) << bytes;
  }
}

TEST_F(QueueTest, RefusesAnIndirectTableInATable) {
  indirect({{kTable, 16, kIndirect, 0}});
  EXPECT_NE(fault().find("not the last descriptor"), std::string::npos);
}

TEST_F(QueueTest, RefusesAnIndirectTableWithASuccessor) {
  indirect({{kData, 8, 0, 0}}, 16, kIndirect | kNext);
  EXPECT_NE(fault().find("not the last descriptor"), std::string::npos);
}

TEST_F(QueueTest, RefusesAnIndirectTableOutsideOfMemory) {
  driver.set_descriptor(0, (2 << 20) - 16, 32, kIndirect, 0);
  driver.make_available(0);
  EXPECT_NE(fault().find("table outside of memory"), std::string::npos);
}

TEST_F(QueueTest, RefusesAnIndirectChainThatLeavesItsTable) {
  indirect({{kData, 8, kNext, 2}, {kData, 8, 0, 0}});
  EXPECT_NE(fault().find("index beyond the table"), std::string::npos);
}

TEST_F(QueueTest, RefusesAnIndirectChainThatGoesRoundInACircle) {
  indirect({{kData, 8, kNext, 0}, {0, 0, 0, 0}});
  EXPECT_NE(fault().find("without end"), std::string::npos);
}

TEST_F(QueueTest, RefusesAnIndirectChainThatIsLongerThanTheQueue) {
  std::vector<RawDescriptor> table;
  for (std::uint16_t i = 1; i <= 9; ++i) table.push_back({kData, 8, kNext, i});
  table.back().flags = 0;
  indirect(table);
  EXPECT_NE(fault().find("a chain of more than 8"), std::string::npos);
}

}  // namespace
}  // namespace mvm::vmm
