// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/mmio_transport.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <array>
#include <string>
#include <vector>

#include "vmm/virtio/testing_transport.h"

namespace mvm::vmm {
namespace {

using testing_transport::HungUpSocket;
using testing_transport::kFakeFeature;
using testing_transport::TransportTest;
namespace reg = testing_transport::reg;

// ---- registers

TEST_F(TransportTest, TellsWhatItIs) {
  EXPECT_EQ(read(reg::kMagic), 0x74726976U);
  EXPECT_EQ(read(reg::kVersion), 2U);
  EXPECT_EQ(read(reg::kDeviceId), 4U);
  EXPECT_EQ(read(reg::kStatus), 0U);
  EXPECT_EQ(read(reg::kQueueSizeMax), 8U);
  write(reg::kQueueSelect, 1);
  EXPECT_EQ(read(reg::kQueueSizeMax), 4U);
  write(reg::kQueueSelect, 2);
  EXPECT_EQ(read(reg::kQueueSizeMax), 0U);
}

TEST_F(TransportTest, OffersTheDevicesFeaturesAndItsOwn) {
  EXPECT_EQ(read(reg::kDeviceFeatures), 0x3000'0000U | kFakeFeature);
  write(reg::kDeviceFeaturesSelect, 1);
  EXPECT_EQ(read(reg::kDeviceFeatures), 1U);
  write(reg::kDeviceFeaturesSelect, 2);
  EXPECT_EQ(read(reg::kDeviceFeatures), 0U);
}

TEST_F(TransportTest, SharedMemoryThatDoesNotExistHasAllOnesForItsLength) {
  EXPECT_EQ(read(0xb0), 0xffff'ffffU);
  EXPECT_EQ(read(0xb4), 0xffff'ffffU);
}

TEST_F(TransportTest, AccessesOfOtherWidthsReadZeroAndWriteNothing) {
  std::array<std::byte, 2> half{std::byte{0xff}, std::byte{0xff}};
  transport->read(reg::kMagic, half);
  EXPECT_EQ(half[0], std::byte{0});
  std::array<std::byte, 8> wide{std::byte{1}};
  transport->write(reg::kStatus, wide);
  EXPECT_EQ(read(reg::kStatus), 0U);
}

TEST_F(TransportTest, GivesTheConfigurationSpaceInAnyWidth) {
  std::array<std::byte, 3> some{};
  transport->read(reg::kConfig + 4, some);
  EXPECT_EQ(some[0], std::byte{4});
  EXPECT_EQ(some[2], std::byte{6});
  transport->write(reg::kConfig + 2, some);
  EXPECT_EQ(device->config_writes, 1);
}

TEST_F(TransportTest, RefusesFeaturesThatItHasNotOffered) {
  accept(kFeatureVersion1 | 1ULL << 50);
  write(reg::kStatus, 8);
  EXPECT_EQ(read(reg::kStatus) & 8, 0U);
}

TEST_F(TransportTest, RefusesADriverOfTheOldVersion) {
  accept(kFakeFeature);
  write(reg::kStatus, 8);
  EXPECT_EQ(read(reg::kStatus) & 8, 0U);
}

TEST_F(TransportTest, FeaturesStandOnceTheyAreAgreedOn) {
  start(kFakeFeature);
  accept(kFeatureVersion1);
  EXPECT_EQ(transport->accepted_features() & kFakeFeature, kFakeFeature);
}

TEST_F(TransportTest, ADriverThatStartsWithoutFeaturesFails) {
  write(reg::kStatus, 4);
  EXPECT_TRUE(needs_reset());
  EXPECT_EQ(device->activations, 0);
}

TEST_F(TransportTest, ADriverThatStartsWithRingsOutsideOfMemoryFails) {
  negotiate(0);
  write(reg::kQueueSelect, 0);
  write(reg::kQueueSize, 8);
  write(reg::kQueueDescHigh, 0xffff'ffff);
  write(reg::kQueueReady, 1);
  write(reg::kStatus, 4);
  EXPECT_TRUE(needs_reset());
  EXPECT_EQ(device->activations, 0);
  EXPECT_FALSE(transport->queue(0).enabled());
}

TEST_F(TransportTest, AnImpossibleQueueSizeFailsWhenTheDriverStarts) {
  negotiate(0);
  set_up(0);
  write(reg::kQueueSize, 0x1'0008);
  write(reg::kStatus, 4);
  EXPECT_TRUE(needs_reset());
}

TEST_F(TransportTest, StartsTheDeviceWithTheQueuesThatAreReady) {
  negotiate(0);
  set_up(1);
  write(reg::kStatus, 4);
  EXPECT_EQ(device->activations, 1);
  EXPECT_FALSE(transport->queue(0).enabled());
  EXPECT_TRUE(transport->queue(1).enabled());
  notify(0);
  turn();
  EXPECT_EQ(device->notified, std::vector<std::size_t>{});
}

TEST_F(TransportTest, TheRingsOfARunningDeviceDoNotMove) {
  start();
  write(reg::kQueueSelect, 0);
  write(reg::kQueueSize, 0);
  write(reg::kQueueReady, 0);
  write(reg::kQueueDescLow, 0);
  EXPECT_EQ(read(reg::kQueueReady), 1U);
  EXPECT_EQ(transport->queue(0).setup().size, 8);
  EXPECT_NE(transport->queue(0).setup().descriptors, 0U);
}

TEST_F(TransportTest, StatusBitsStayUntilAReset) {
  start();
  write(reg::kStatus, 1);
  EXPECT_EQ(read(reg::kStatus), 1U | 4U | 8U);
  EXPECT_EQ(device->activations, 1);
  write(reg::kStatus, 0);
  EXPECT_EQ(read(reg::kStatus), 0U);
}

TEST_F(TransportTest, NobodyButTheDeviceSaysThatItNeedsAReset) {
  write(reg::kStatus, 64);
  EXPECT_EQ(read(reg::kStatus), 0U);
}

TEST_F(TransportTest, AResetTakesBackEverything) {
  start(kFakeFeature);
  interrupt();
  ASSERT_NE(read(reg::kInterruptStatus), 0U);
  write(reg::kStatus, 0);
  EXPECT_EQ(device->resets, 1);
  EXPECT_EQ(read(reg::kInterruptStatus), 0U);
  EXPECT_EQ(read(reg::kQueueReady), 0U);
  EXPECT_EQ(transport->accepted_features(), 0U);
  EXPECT_FALSE(transport->queue(0).enabled());
  notify(0);
  turn();
  EXPECT_TRUE(device->notified.empty());
}

TEST_F(TransportTest, ADeviceCanBeStartedAgainAfterAReset) {
  start();
  write(reg::kStatus, 0);
  start();
  EXPECT_EQ(device->activations, 2);
  notify(1);
  turn();
  EXPECT_EQ(device->notified, std::vector<std::size_t>{1});
}

// ---- notifications and interrupts

TEST_F(TransportTest, ANotificationReachesTheDeviceByTheEventDescriptor) {
  start();
  ring(1);
  turn();
  EXPECT_EQ(device->notified, std::vector<std::size_t>{1});
  turn();
  EXPECT_EQ(device->notified.size(), 1U);
}

TEST_F(TransportTest, ANotificationReachesTheDeviceByTheRegister) {
  start();
  notify(0);
  notify(2);
  notify(0xffff'ffff);
  turn();
  EXPECT_EQ(device->notified, std::vector<std::size_t>{0});
}

TEST_F(TransportTest, InterruptsTellTheirCauseUntilItIsAcknowledged) {
  start();
  interrupt();
  EXPECT_EQ(raised, 1);
  EXPECT_EQ(read(reg::kInterruptStatus), 1U);
  transport->signal_config();
  EXPECT_EQ(raised, 2);
  EXPECT_EQ(read(reg::kInterruptStatus), 3U);
  write(reg::kInterruptAck, 1);
  EXPECT_EQ(read(reg::kInterruptStatus), 2U);
  write(reg::kInterruptAck, 2);
  EXPECT_EQ(read(reg::kInterruptStatus), 0U);
}

// The guest does not wait until its acknowledgement is seen; the next interrupt does.
TEST_F(TransportTest, AnAcknowledgementThatIsSeenLateDoesNotTakeBackTheNextInterrupt) {
  start();
  interrupt();
  on_catch_up = [this] {
    write(reg::kInterruptAck, 1);
    on_catch_up = [] {};
  };
  interrupt();
  EXPECT_EQ(raised, 2);
  EXPECT_EQ(read(reg::kInterruptStatus), 1U);
}

TEST_F(TransportTest, ChangesOfTheConfigurationCountBeforeTheDriverIsReadyAndInterruptAfterwards) {
  const auto before = read(reg::kConfigGeneration);
  transport->signal_config();
  EXPECT_NE(read(reg::kConfigGeneration), before);
  EXPECT_EQ(raised, 0);
}

// ---- devices that fail

TEST_F(TransportTest, ADeviceThatFailsIsResetWhenItsOwnCallHasReturned) {
  start();
  device->on_notify = [&](std::size_t) {
    device->host->fail(Error(Errc::kGuestFault, "a test"));
    device->host->fail(Error(Errc::kGuestFault, "said twice"));
    EXPECT_EQ(device->resets, 0);
  };
  notify(0);
  turn();
  EXPECT_EQ(device->resets, 1);
  EXPECT_TRUE(needs_reset());
  EXPECT_EQ(read(reg::kInterruptStatus), 2U);
  EXPECT_EQ(raised, 1);
}

TEST_F(TransportTest, AFailedDeviceIsNotCalledUntilTheDriverStartsItAnew) {
  start();
  fail_in_notify();
  write(reg::kStatus, 4);
  notify(0);
  turn();
  EXPECT_EQ(device->notified.size(), 1U);
  EXPECT_EQ(device->activations, 1);
  EXPECT_EQ(device->resets, 1);
  device->on_notify = nullptr;
  write(reg::kStatus, 0);
  EXPECT_EQ(device->resets, 1);
  start();
  EXPECT_FALSE(needs_reset());
  notify(0);
  turn();
  EXPECT_EQ(device->notified.size(), 2U);
}

TEST_F(TransportTest, TheQueuesOfAFailedDeviceAreNotTouchedAnyMore) {
  start();
  driver(0).add({{0x10'0000, 4, true}});
  fail_in_notify();
  Chain chain;
  EXPECT_FALSE(transport->queue(0).pop(chain).value());
  transport->queue(0).push(chain, 0);
  EXPECT_FALSE(driver(0).take_used().has_value());
  // The driver may still look at what it has set up.
  write(reg::kQueueSelect, 0);
  EXPECT_EQ(read(reg::kQueueReady), 1U);
}

TEST_F(TransportTest, ADeviceMayFailWhenItIsStarted) {
  device->on_activate = [&](DeviceHost&) -> Result<> {
    return Error(Errc::kGuestFault, "a queue is missing");
  };
  start();
  EXPECT_TRUE(needs_reset());
  EXPECT_EQ(device->resets, 1);
}

TEST_F(TransportTest, ADeviceMayFailItselfWithinItsStart) {
  device->on_activate = [&](DeviceHost& host) -> Result<> {
    host.fail(Error(Errc::kGuestFault, "a test"));
    EXPECT_EQ(device->resets, 0);
    return {};
  };
  start();
  EXPECT_TRUE(needs_reset());
  EXPECT_EQ(device->resets, 1);
  notify(0);
  turn();
  EXPECT_TRUE(device->notified.empty());
}

TEST_F(TransportTest, ADeviceMayFailInATimerAndInADescriptorsCallback) {
  start();
  const auto fail = [&] {
    device->host->fail(Error(Errc::kGuestFault, "a test"));
    EXPECT_EQ(device->resets, 0);
  };
  device->host->after(Millis(0), fail);
  turn();
  EXPECT_EQ(device->resets, 1);
  write(reg::kStatus, 0);
  start();
  ASSERT_TRUE(device->host->watch(event.get(), EPOLLIN, [&](std::uint32_t) {
    device->resets = 0;
    fail();
  }));
  signal_event();
  turn();
  EXPECT_EQ(device->resets, 1);
  EXPECT_TRUE(needs_reset());
}

// ---- descriptors and timers

TEST_F(TransportTest, WatchesADescriptorUntilItIsToldNotTo) {
  start();
  int calls = 0;
  ASSERT_TRUE(device->host->watch(event.get(), EPOLLIN, [&](std::uint32_t) { ++calls; }));
  signal_event();
  turn();
  turn();
  EXPECT_EQ(calls, 2);
  device->host->unwatch(event.get());
  turn();
  EXPECT_EQ(calls, 2);
}

TEST_F(TransportTest, ASilencedDescriptorIsNotEvenToldOfAHangUp) {
  start();
  const HungUpSocket socket;
  int calls = 0;
  const auto call = [&](std::uint32_t) { ++calls; };
  ASSERT_TRUE(device->host->watch(socket.fd(), EPOLLIN, call));
  turn();
  EXPECT_EQ(calls, 1);
  ASSERT_TRUE(device->host->watch(socket.fd(), 0, call));
  turn();
  EXPECT_EQ(calls, 1);
  ASSERT_TRUE(device->host->watch(socket.fd(), EPOLLIN, call));
  turn();
  EXPECT_EQ(calls, 2);
  device->host->unwatch(socket.fd());
}

TEST_F(TransportTest, WatchingAgainInTheCallbackChangesTheCallback) {
  start();
  std::string order;
  const auto second = [&](std::uint32_t) { order += "2"; };
  const auto first = [&, second](std::uint32_t) {
    ASSERT_TRUE(device->host->watch(event.get(), EPOLLIN, second));
    order += "1";
  };
  ASSERT_TRUE(device->host->watch(event.get(), EPOLLIN, first));
  signal_event();
  turn();
  turn();
  EXPECT_EQ(order, "12");
}

TEST_F(TransportTest, ACallbackMayUnwatchItself) {
  start();
  const auto held = std::make_shared<int>(0);
  ASSERT_TRUE(device->host->watch(event.get(), EPOLLIN, [this, held](std::uint32_t) {
    device->host->unwatch(event.get());
    ++*held;
  }));
  signal_event();
  turn();
  turn();
  EXPECT_EQ(*held, 1);
  EXPECT_EQ(held.use_count(), 1);
}

TEST_F(TransportTest, ACallbackMayUnwatchADescriptorWhoseEventIsInTheSameTurn) {
  start();
  const sys::UniqueFd other(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  int calls = 0;
  const auto both = [&](std::uint32_t) {
    ++calls;
    device->host->unwatch(event.get());
    device->host->unwatch(other.get());
  };
  ASSERT_TRUE(device->host->watch(event.get(), EPOLLIN, both));
  ASSERT_TRUE(device->host->watch(other.get(), EPOLLIN, both));
  signal_event();
  turn();
  EXPECT_EQ(calls, 1);
}

TEST_F(TransportTest, AResetForgetsDescriptorsAndTimers) {
  start();
  int calls = 0;
  ASSERT_TRUE(device->host->watch(event.get(), EPOLLIN, [&](std::uint32_t) { ++calls; }));
  device->host->after(Millis(0), [&] { ++calls; });
  signal_event();
  write(reg::kStatus, 0);
  start();
  turn();
  EXPECT_EQ(calls, 0);
}

TEST_F(TransportTest, ATimerOfATransportThatIsGoneDoesNotFire) {
  start();
  bool fired = false;
  device->host->after(Millis(0), [&] { fired = true; });
  transport.reset();
  turn();
  EXPECT_FALSE(fired);
}

TEST_F(TransportTest, ACancelledTimerDoesNotFire) {
  start();
  int calls = 0;
  const auto id = device->host->after(Millis(0), [&] { ++calls; });
  device->host->after(Millis(0), [&] { calls += 10; });
  device->host->cancel(id);
  turn();
  EXPECT_EQ(calls, 10);
  device->host->cancel(id);
}

TEST_F(TransportTest, ATimerMayCancelItselfAndStartAnother) {
  start();
  int calls = 0;
  DeviceHost::TimerId id = 0;
  id = device->host->after(Millis(0), [&] {
    ++calls;
    device->host->cancel(id);
    device->host->after(Millis(0), [&] { ++calls; });
  });
  turn();
  turn();
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace mvm::vmm
