// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/port_bus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <utility>
#include <vector>

namespace mvm::vmm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

struct Recorder : PortDevice {
  std::uint8_t read_port(std::uint16_t offset) override {
    return static_cast<std::uint8_t>(0x10 + offset);
  }
  void write_port(std::uint16_t offset, std::uint8_t value) override {
    writes.emplace_back(offset, value);
  }
  std::vector<std::pair<int, int>> writes;
};

std::uint8_t read8(const PortBus& bus, std::uint16_t port) {
  std::array<std::byte, 1> data{};
  bus.read(port, data);
  return std::to_integer<std::uint8_t>(data[0]);
}

void write8(const PortBus& bus, std::uint16_t port, std::uint8_t value) {
  const auto data = std::byte{value};
  bus.write(port, std::span(&data, 1));
}

TEST(PortBus, GivesAnAccessToTheDeviceOfThatRange) {
  PortBus bus;
  Recorder low;
  Recorder high;
  ASSERT_TRUE(bus.add({0x3f8, 8}, low));
  ASSERT_TRUE(bus.add({0x400, 2}, high));
  EXPECT_EQ(read8(bus, 0x3ff), 0x17);
  EXPECT_EQ(read8(bus, 0x400), 0x10);
  write8(bus, 0x3f9, 7);
  write8(bus, 0x401, 9);
  EXPECT_THAT(low.writes, ElementsAre(Pair(1, 7)));
  EXPECT_THAT(high.writes, ElementsAre(Pair(1, 9)));
}

TEST(PortBus, ReadsOnesWhereNobodyIs) {
  PortBus bus;
  Recorder device;
  ASSERT_TRUE(bus.add({0x60, 5}, device));
  EXPECT_EQ(read8(bus, 0x5f), 0xff);
  EXPECT_EQ(read8(bus, 0x65), 0xff);
  write8(bus, 0x65, 1);
  EXPECT_THAT(device.writes, IsEmpty());
}

TEST(PortBus, KeepsWideAccessesFromDevicesOfOneByte) {
  PortBus bus;
  Recorder device;
  ASSERT_TRUE(bus.add({0xcf8, 8}, device));
  std::array<std::byte, 4> data{};
  bus.write(0xcf8, data);
  EXPECT_THAT(device.writes, IsEmpty());
  bus.read(0xcf8, data);
  EXPECT_THAT(data, testing::Each(std::byte{0xff}));
}

TEST(PortBus, RefusesOverlappingEmptyAndTooManyRanges) {
  PortBus bus;
  Recorder device;
  ASSERT_TRUE(bus.add({0x60, 5}, device));
  EXPECT_EQ(bus.add({0x64, 1}, device).error().code(), Errc::kAlreadyExists);
  EXPECT_EQ(bus.add({0x70, 0}, device).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(bus.add({0xffff, 2}, device).error().code(), Errc::kInvalidArgument);
  for (std::uint16_t i = 1; i < PortBus::kMaxRanges; ++i)
    ASSERT_TRUE(bus.add({static_cast<std::uint16_t>(0x1000 + i), 1}, device));
  EXPECT_EQ(bus.add({0x2000, 1}, device).error().code(), Errc::kLimit);
}

TEST(PortBus, ReachesTheLastPort) {
  PortBus bus;
  Recorder device;
  ASSERT_TRUE(bus.add({0xffff, 1}, device));
  EXPECT_EQ(read8(bus, 0xffff), 0x10);
}

}  // namespace
}  // namespace mvm::vmm
