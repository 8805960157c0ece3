// SPDX-License-Identifier: Apache-2.0
#include "vmm/entropy/entropy_device.h"

#include <gtest/gtest.h>

#include "vmm/virtio/testing_driver.h"

namespace mvm::vmm {
namespace {

using testing_driver::Buffer;
using testing_driver::Guest;

// 32 zeros from the generator are less likely than any other failure of this test.
bool is_filled(const Guest& guest, const Buffer& buffer) {
  return guest.text(buffer.address, buffer.length) != std::string(buffer.length, '\0');
}

TEST(EntropyDevice, FillsEveryBufferOfARequest) {
  EntropyDevice device({});
  Guest guest(device);
  ASSERT_TRUE(guest.activate().has_value());
  const Buffer first = guest.writable(32);
  const Buffer second = guest.writable(4096);
  const auto used = guest.request(0, {first, second});
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->written, 32U + 4096U);
  EXPECT_TRUE(is_filled(guest, first));
  EXPECT_TRUE(is_filled(guest, second));
  EXPECT_EQ(guest.interrupts, 1U);
  EXPECT_EQ(device.counters().bytes, 32U + 4096U);
}

TEST(EntropyDevice, GivesNoMoreThanItsLimitForOneRequest) {
  EntropyDevice device({});
  Guest guest(device);
  ASSERT_TRUE(guest.activate().has_value());
  const Buffer huge{Guest::kData, 8 << 20, true};
  const auto used = guest.request(0, {huge, huge});
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->written, EntropyDevice::kMaxBytes);
  EXPECT_FALSE(is_filled(guest, {Guest::kData + EntropyDevice::kMaxBytes, 64, true}));
}

TEST(EntropyDevice, WritesNothingIntoReadableBuffers) {
  EntropyDevice device({});
  Guest guest(device);
  ASSERT_TRUE(guest.activate().has_value());
  const Buffer mine = guest.readable(std::string(64, '\0'));
  const auto used = guest.request(0, {mine});
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->written, 0U);
  EXPECT_FALSE(is_filled(guest, mine));
}

TEST(EntropyDevice, StopsAtABrokenQueue) {
  EntropyDevice device({});
  Guest guest(device);
  ASSERT_TRUE(guest.activate().has_value());
  guest.driver(0).set_descriptor(0, 0, 16, 1, 0);  // its own successor
  guest.driver(0).make_available(0);
  guest.notify(0);
  ASSERT_TRUE(guest.failure.has_value());
  EXPECT_EQ(guest.failure->code(), Errc::kGuestFault);
}

TEST(EntropyDevice, ALimitMakesRequestsWaitAndLosesNone) {
  Clock::time_point now{std::chrono::hours(1)};
  EntropyDevice device({BucketLimits{64, 0, 10}, {}}, [&now] { return now; });
  Guest guest(device);
  ASSERT_TRUE(guest.activate().has_value());
  ASSERT_TRUE(guest.request(0, {guest.writable(64)}));
  EXPECT_FALSE(guest.request(0, {guest.writable(64)}));
  EXPECT_EQ(device.counters().throttled, 1U);
  now += Millis(10);
  EXPECT_TRUE(guest.run_until([&] { return device.counters().requests == 2; }));
  EXPECT_TRUE(guest.driver(0).take_used().has_value());
}

TEST(EntropyDevice, LiftingALimitLetsWaitingRequestsGo) {
  EntropyDevice device({{}, BucketLimits{1, 0, 3'600'000}});
  Guest guest(device);
  ASSERT_TRUE(guest.activate().has_value());
  ASSERT_TRUE(guest.request(0, {guest.writable(64)}));
  EXPECT_FALSE(guest.request(0, {guest.writable(64)}));
  device.update_limits({{}, BucketLimits{}});
  EXPECT_TRUE(guest.driver(0).take_used().has_value());
}

TEST(EntropyDevice, ServesAFullQueueInTurns) {
  EntropyDevice device({});
  Guest guest(device);
  ASSERT_TRUE(guest.activate().has_value());
  for (int i = 0; i < 64; ++i) guest.driver(0).add({guest.writable(16)});
  guest.notify(0);
  EXPECT_EQ(device.counters().requests, 64U);
  // Nobody announces this one; the turn that was broken off finds it.
  guest.driver(0).add({guest.writable(16)});
  EXPECT_TRUE(guest.run_until([&] { return device.counters().requests == 65; }));
}

TEST(EntropyDevice, KeepsItsLimitsOverASave) {
  const EntropyDevice saved({BucketLimits{64, 5, 10}, {}});
  ByteWriter out;
  saved.save(out);
  const auto bytes = out.take();
  EntropyDevice restored({});
  ByteReader in(bytes);
  ASSERT_TRUE(restored.restore(in).has_value());
  EXPECT_TRUE(in.done());
  EXPECT_EQ(restored.limits(), saved.limits());
  const auto half = std::span(bytes).first(bytes.size() / 2);
  ByteReader cut(half);
  EXPECT_EQ(restored.restore(cut).error().code(), Errc::kCorrupt);
}

}  // namespace
}  // namespace mvm::vmm
