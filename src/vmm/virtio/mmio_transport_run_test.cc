// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "vmm/virtio/mmio_transport.h"
#include "vmm/virtio/testing_transport.h"

namespace mvm::vmm {
namespace {

using testing_transport::HungUpSocket;
using testing_transport::kFakeFeature;
using testing_transport::TransportTest;
namespace reg = testing_transport::reg;

// ---- pause and resume

TEST_F(TransportTest, WhatIsAskedForWhilePausedIsDoneAfterwards) {
  start();
  transport->pause();
  EXPECT_EQ(device->quiesced, 1);
  ring(0);
  notify(1);
  turn();
  EXPECT_TRUE(device->notified.empty());
  transport->resume();
  turn();
  EXPECT_EQ(device->notified, (std::vector<std::size_t>{0, 1}));
}

TEST_F(TransportTest, NothingSpinsOnADescriptorWhilePaused) {
  start();
  const HungUpSocket socket;
  int calls = 0;
  ASSERT_TRUE(device->host->watch(socket.fd(), EPOLLIN, [&](std::uint32_t) { ++calls; }));
  ring(0);
  transport->pause();
  // With nothing to tell, the loop waits out its deadline.
  const auto waited = loop.run_once(Deadline::after(Millis(20), "nothing"));
  EXPECT_FALSE(waited.has_value());
  EXPECT_EQ(calls, 0);
  transport->resume();
  turn();
  EXPECT_EQ(calls, 1);
  device->host->unwatch(socket.fd());
}

TEST_F(TransportTest, ADescriptorThatIsWatchedWhilePausedIsToldAfterwards) {
  start();
  transport->pause();
  int calls = 0;
  ASSERT_TRUE(device->host->watch(event.get(), EPOLLIN, [&](std::uint32_t) { ++calls; }));
  signal_event();
  turn();
  EXPECT_EQ(calls, 0);
  transport->resume();
  turn();
  EXPECT_EQ(calls, 1);
}

TEST_F(TransportTest, ATimerThatGoesOffWhilePausedFiresAtResumeAndOnce) {
  start();
  int calls = 0;
  device->host->after(Millis(0), [&] { ++calls; });
  transport->pause();
  turn();
  EXPECT_EQ(calls, 0);
  transport->resume();
  EXPECT_EQ(calls, 1);
  transport->resume();
  turn();
  EXPECT_EQ(calls, 1);
}

TEST_F(TransportTest, ATimerThatIsCancelledAfterItWentOffWhilePausedDoesNotFire) {
  start();
  int calls = 0;
  const auto id = device->host->after(Millis(0), [&] { ++calls; });
  transport->pause();
  turn();
  transport->with_device([&](VirtioDevice&) { device->host->cancel(id); });
  transport->resume();
  EXPECT_EQ(calls, 0);
}

TEST_F(TransportTest, ATimerThatFailsTheDeviceAtResumeKeepsTheOthersFromFiring) {
  start();
  int calls = 0;
  device->host->after(Millis(0), [&] { device->host->fail(Error(Errc::kGuestFault, "a test")); });
  device->host->after(Millis(0), [&] { ++calls; });
  transport->pause();
  turn();
  transport->resume();
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(device->resets, 1);
}

TEST_F(TransportTest, WhatTheApiStartsWhilePausedIsFinishedBeforeItReturns) {
  start();
  transport->pause();
  transport->with_device([&](VirtioDevice&) { device->quiesced = 0; });
  EXPECT_EQ(device->quiesced, 1);
}

TEST_F(TransportTest, ADriverMayResetAPausedDevice) {
  start();
  transport->pause();
  write(reg::kStatus, 0);
  EXPECT_EQ(device->resets, 1);
  transport->resume();
  start();
  notify(0);
  turn();
  EXPECT_EQ(device->notified.size(), 1U);
}

// ---- the vcpu's thread

TEST_F(TransportTest, AVcpuStartsAndStopsTheDeviceOnTheIoThread) {
  std::vector<std::thread::id> where;
  device->on_activate = [&](DeviceHost&) -> Result<> {
    where.push_back(std::this_thread::get_id());
    return {};
  };
  on_vcpu([&] {
    start();
    EXPECT_EQ(read(reg::kStatus), 1U | 4U | 8U);
    write(reg::kStatus, 0);
    EXPECT_EQ(read(reg::kStatus), 0U);
  });
  EXPECT_EQ(where, std::vector{std::this_thread::get_id()});
  EXPECT_EQ(device->resets, 1);
}

TEST_F(TransportTest, AVcpuMayStopTheDeviceWhileTheIoThreadWaitsForIt) {
  std::atomic<bool> stopped = false;
  start();
  std::thread vcpu([&] {
    write(reg::kStatus, 0);
    stopped = true;
    io->wake();
  });
  io->wait_until([&] { return stopped.load(); });
  vcpu.join();
  EXPECT_EQ(device->resets, 1);
}

TEST_F(TransportTest, RegistersMayBeUsedWhileTheDeviceWorks) {
  start();
  std::atomic<bool> ended = false;
  std::thread vcpu([&] {
    for (int i = 0; i < 300; ++i) {
      write(reg::kInterruptAck, read(reg::kInterruptStatus));
      notify(static_cast<std::uint32_t>(i % 2));
      std::array<std::byte, 4> config;
      transport->read(reg::kConfig, config);
      transport->write(reg::kConfig, config);
      (void)read(reg::kConfigGeneration);
      write(reg::kQueueSelect, static_cast<std::uint32_t>(i % 3));
    }
    ended = true;
    io->wake();
  });
  device->on_notify = [&](std::size_t) { transport->signal_config(); };
  run_until([&] { return ended.load(); });
  vcpu.join();
  turn();
  EXPECT_EQ(device->config_writes, 300);
  EXPECT_FALSE(device->notified.empty());
  EXPECT_GE(raised, 1);
}

TEST_F(TransportTest, DriversMayStartAndStopTheDeviceWhileNotificationsAndPausesCome) {
  std::atomic<bool> ended = false;
  std::thread vcpu([&] {
    for (int i = 0; i < 100; ++i) {
      start();
      ring(0);
      write(reg::kStatus, 0);
    }
    ended = true;
    io->wake();
  });
  run_until([&] {
    transport->pause();
    transport->resume();
    return ended.load();
  });
  vcpu.join();
  EXPECT_EQ(device->activations, 100);
  EXPECT_EQ(device->resets, 100);
  EXPECT_EQ(read(reg::kStatus), 0U);
}

// Each request is announced only when the device asks for it: one lost notification, and this
// hangs.
TEST_F(TransportTest, NoRequestIsLostBetweenDriverAndDevice) {
  start(kFeatureEventIndex);
  device->on_notify = [&](std::size_t index) { testing_transport::echo(*device->host, index); };
  std::atomic<bool> ended = false;
  std::thread vcpu([&] {
    testing_transport::AtomicDriver guest(memory, driver(0).setup());
    for (std::uint32_t i = 0; i < 20'000; ++i) {
      if (guest.add_and_wants_notification()) ring(0);
      guest.await_used();
    }
    ended = true;
    io->wake();
  });
  run_until([&] { return ended.load(); });
  vcpu.join();
  EXPECT_EQ(*memory.read_object<std::uint16_t>(driver(0).setup().used + 2), 20'000U);
}

// ---- saving

TEST_F(TransportTest, ARestoredDeviceGoesOn) {
  start(kFakeFeature);
  driver(0).add({{0x10'0000, 4, true}});
  interrupt();
  raised = 0;
  const auto bytes = saved();
  replace_transport();
  ByteReader in(bytes);
  ASSERT_TRUE(transport->restore(in).has_value());
  EXPECT_TRUE(in.done());
  EXPECT_EQ(device->activations, 1);
  EXPECT_EQ(device->state, 7U);
  EXPECT_EQ(read(reg::kStatus), 1U | 4U | 8U);
  EXPECT_EQ(transport->accepted_features() & kFakeFeature, kFakeFeature);
  turn();
  EXPECT_TRUE(device->notified.empty());
  transport->resume();
  turn();
  EXPECT_EQ(device->notified, (std::vector<std::size_t>{0, 1}));
}

TEST_F(TransportTest, AnInterruptThatTheGuestHasNotSeenIsRaisedAgainAfterARestore) {
  start();
  interrupt();
  const auto bytes = saved();
  replace_transport();
  raised = 0;
  ByteReader in(bytes);
  ASSERT_TRUE(transport->restore(in).has_value());
  EXPECT_EQ(raised, 1);
  EXPECT_EQ(read(reg::kInterruptStatus), 1U);
}

TEST_F(TransportTest, ADeviceThatWasNotStartedIsRestoredAsSuch) {
  negotiate(0);
  set_up(0);
  const auto bytes = saved();
  replace_transport();
  ByteReader in(bytes);
  ASSERT_TRUE(transport->restore(in).has_value());
  transport->resume();
  EXPECT_EQ(device->activations, 0);
  EXPECT_EQ(raised, 0);
  write(reg::kStatus, 4);
  EXPECT_EQ(device->activations, 1);
}

TEST_F(TransportTest, AFailedDeviceIsRestoredAsSuch) {
  start();
  fail_in_notify();
  const auto bytes = saved();
  replace_transport();
  ByteReader in(bytes);
  ASSERT_TRUE(transport->restore(in).has_value());
  EXPECT_TRUE(needs_reset());
  EXPECT_EQ(device->activations, 0);
  EXPECT_FALSE(transport->queue(0).enabled());
}

TEST_F(TransportTest, ADeviceThatNeedsAResetDoesNotStartWithoutOne) {
  negotiate(0);
  set_up(0);
  auto bytes = saved();
  bytes[24] |= std::byte{64};
  replace_transport();
  ByteReader in(bytes);
  ASSERT_TRUE(transport->restore(in).has_value());
  transport->resume();
  write(reg::kStatus, 4);
  EXPECT_EQ(device->activations, 0);
  write(reg::kStatus, 0);
  start();
  EXPECT_EQ(device->activations, 1);
}

TEST_F(TransportTest, RefusesEverySavedStateThatIsCutOff) {
  start();
  const auto bytes = saved();
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    replace_transport();
    const auto part = std::span(bytes).first(length);
    ByteReader in(part);
    EXPECT_EQ(transport->restore(in).error().code(), Errc::kCorrupt) << length;
  }
}

TEST_F(TransportTest, RefusesSavedStatesThatNoDeviceCanHave) {
  start();
  const auto good = saved();
  struct Change {
    std::size_t offset;
    std::byte value;
  };
  // Another type; a feature that is not offered; running without DRIVER_OK; running though failed.
  const std::vector<Change> changes = {{0, std::byte{2}},
                                       {4, std::byte{0x80}},
                                       {24, std::byte{1 | 8}},
                                       {24, std::byte{1 | 4 | 8 | 64}}};
  for (const Change& change : changes) {
    auto bytes = good;
    bytes[change.offset] = change.value;
    replace_transport();
    ByteReader in(bytes);
    EXPECT_EQ(transport->restore(in).error().code(), Errc::kCorrupt) << change.offset;
    EXPECT_EQ(device->activations, 0);
  }
}

// Rings that nobody uses could be moved by the guest, size and all.
TEST_F(TransportTest, AQueueOfADeviceThatDoesNotRunIsNotEnabledByASavedState) {
  start();
  auto bytes = saved();
  bytes[24] = std::byte{1 | 8};
  bytes[36] = std::byte{0};  // not active
  replace_transport();
  ByteReader in(bytes);
  ASSERT_TRUE(transport->restore(in).has_value());
  EXPECT_FALSE(transport->queue(0).enabled());
}

}  // namespace
}  // namespace mvm::vmm
