// SPDX-License-Identifier: Apache-2.0
// For tests of the queue: two MiB of memory with one queue of eight entries and its driver.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "vmm/virtio/queue.h"
#include "vmm/virtio/testing_driver.h"

namespace mvm::vmm::testing_queue {

using testing_driver::Buffer;
using testing_driver::DriverQueue;

constexpr std::uint16_t kNext = 1;
constexpr std::uint16_t kWrite = 2;
constexpr std::uint16_t kIndirect = 4;
constexpr Gpa kRings = 0x1'0000;
constexpr Gpa kTable = 0x8'0000;  // an indirect one
constexpr Gpa kData = 0x10'0000;

struct RawDescriptor {
  std::uint64_t address;
  std::uint32_t length;
  std::uint16_t flags;
  std::uint16_t next;
};

class QueueTest : public ::testing::Test {
 protected:
  explicit QueueTest(bool event_index = false) {
    queue.setup() = driver.setup();
    EXPECT_TRUE(queue.enable(memory, event_index).has_value());
  }
  // The fault that pop() tells, or an empty text.
  std::string fault() {
    const auto popped = queue.pop(chain);
    if (popped) return "";
    EXPECT_EQ(popped.error().code(), Errc::kGuestFault);
    return popped.error().message();
  }
  bool pop() { return queue.pop(chain).value(); }
  void indirect(const std::vector<RawDescriptor>& table, std::uint32_t bytes,
                std::uint16_t flags = kIndirect) {
    for (std::size_t i = 0; i < table.size(); ++i)
      memory.write_object(kTable + sizeof(RawDescriptor) * i, table[i]);
    driver.set_descriptor(0, kTable, bytes, flags, 0);
    driver.make_available(0);
  }
  void indirect(const std::vector<RawDescriptor>& table) {
    indirect(table, static_cast<std::uint32_t>(table.size() * sizeof(RawDescriptor)));
  }
  bool is_dirty(Gpa gpa) {
    const auto pages = memory.take_dirty();
    return (pages[gpa / 4096 / 64] >> (gpa / 4096 % 64) & 1) != 0;
  }

  GuestMemory memory = GuestMemory::create(mebibytes(2)).value();
  DriverQueue driver{memory, kRings, 8};
  Queue queue{8};
  Chain chain;
};

class EventIndexQueue : public QueueTest {
 protected:
  EventIndexQueue() : QueueTest(true) {}
  // Pops and gives back so many requests.
  void serve(int count) {
    for (int i = 0; i < count; ++i) {
      driver.add({{kData, 1, true}});
      EXPECT_TRUE(pop());
      queue.push(chain, 1);
    }
  }
};

}  // namespace mvm::vmm::testing_queue
