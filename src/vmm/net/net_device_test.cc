// SPDX-License-Identifier: Apache-2.0
#include "vmm/net/net_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/net/testing_net.h"
#include "vmm/virtio/testing_driver.h"

namespace mvm::vmm {
namespace {

using namespace testing_net;
using ::testing::HasSubstr;
using testing_driver::Guest;

constexpr std::size_t kRx = NetDevice::kReceive;
constexpr std::size_t kTx = NetDevice::kTransmit;
const std::string kNoHeader(sizeof(NetHeader), '\0');

std::string config(const VirtioDevice& device, std::uint32_t offset, std::size_t size) {
  std::string out(size, '?');
  device.read_config(offset, std::as_writable_bytes(std::span(out)));
  return out;
}

// A device with one frame at a time in its receive buffers, over a socket.
class StreamDevice : public ::testing::Test {
 protected:
  void activate(const NetSettings& settings = {}) {
    StreamPair pair = make_stream_pair();
    peer_.emplace(std::move(pair.peer));
    device_ = std::make_unique<NetDevice>(std::move(pair.backend), settings);
    guest_ = std::make_unique<Guest>(*device_);
    ASSERT_TRUE(guest_->activate(device_->features() & ~net_feature::kMergeBuffers));
  }
  void send(const std::string& bytes) {
    guest_->driver(kTx).add({guest_->readable(kNoHeader), guest_->readable(bytes)});
  }
  testing_driver::Buffer offer_buffer(std::uint32_t length = 2048) {
    const auto buffer = guest_->writable(length);
    guest_->driver(kRx).add({buffer});
    return buffer;
  }
  std::string received(const testing_driver::Buffer& buffer, std::size_t size) {
    return guest_->text(buffer.address + sizeof(NetHeader), size);
  }
  bool run_until(const std::function<bool()>& done) { return guest_->run_until(done); }

  std::optional<Peer> peer_;
  std::unique_ptr<NetDevice> device_;
  std::unique_ptr<Guest> guest_;
};

TEST_F(StreamDevice, SendsTheGuestsFrameWithoutItsHeader) {
  activate();
  const auto used = guest_->request(
      kTx, {guest_->readable(kNoHeader + "0123456789"), guest_->readable("abcdefgh")});
  ASSERT_TRUE(used);
  EXPECT_EQ(used->written, 0U);
  EXPECT_EQ(peer_->take(), "0123456789abcdefgh");
  EXPECT_EQ(device_->stats().tx_frames, 1U);
  EXPECT_EQ(device_->stats().tx_bytes, 18U);
}

TEST_F(StreamDevice, InterruptsOnceForABatch) {
  activate();
  for (int i = 0; i < 100; ++i) send(frame(60, static_cast<char>('a' + i % 26)));
  guest_->notify(kTx);
  EXPECT_EQ(guest_->interrupts, 1U);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(peer_->take(), frame(60, static_cast<char>('a' + i % 26)));
}

TEST_F(StreamDevice, DeliversAFrameBehindAHeader) {
  activate();
  const auto buffer = offer_buffer();
  peer_->send(frame(1514, 'r'));
  ASSERT_TRUE(run_until([&] { return device_->stats().rx_frames == 1; }));
  const auto used = guest_->driver(kRx).take_used();
  ASSERT_TRUE(used);
  EXPECT_EQ(used->written, 12U + 1514U);
  NetHeader expected;
  expected.buffers = 1;
  EXPECT_EQ(guest_->text(buffer.address, sizeof expected), header_bytes(expected));
  EXPECT_EQ(received(buffer, 1514), frame(1514, 'r'));
}

TEST_F(StreamDevice, InterruptsOnceForFramesThatCameTogether) {
  activate();
  for (int i = 0; i < 50; ++i) offer_buffer();
  std::string all;
  for (int i = 0; i < 50; ++i) all += framed(frame(100, 'x'));
  peer_->write_raw(all);
  ASSERT_TRUE(run_until([&] { return device_->stats().rx_frames == 50; }));
  EXPECT_EQ(guest_->interrupts, 1U);
}

TEST_F(StreamDevice, KeepsAFrameUntilTheGuestHasABuffer) {
  activate();
  peer_->send(frame(60, 'a'));
  peer_->send(frame(60, 'b'));
  ASSERT_TRUE(run_until([&] { return device_->stats().rx_no_buffer == 1; }));
  const auto first = offer_buffer();
  const auto second = offer_buffer();
  guest_->notify(kRx);
  EXPECT_EQ(received(first, 60), frame(60, 'a'));
  EXPECT_EQ(received(second, 60), frame(60, 'b'));
}

TEST_F(StreamDevice, DropsAFrameThatDoesNotFitAndUsesTheBufferForTheNext) {
  activate();
  const auto buffer = offer_buffer(500);
  peer_->send(frame(600, 'L'));
  peer_->send(frame(60, 's'));
  ASSERT_TRUE(run_until([&] { return device_->stats().rx_frames == 1; }));
  EXPECT_EQ(device_->stats().rx_dropped, 1U);
  EXPECT_EQ(received(buffer, 60), frame(60, 's'));
}

TEST_F(StreamDevice, HoldsTheGuestBackWhileThePeerDoesNotReadAndLosesNothing) {
  activate();
  std::size_t sent = 0;
  std::size_t returned = 0;
  // Far more than the socket and the device hold.
  const auto fill = [&] {
    while (guest_->driver(kTx).take_used()) ++returned;
    while (sent - returned < 100 && sent < 2000)
      send(frame(1500, static_cast<char>('a' + sent++ % 26)));
    guest_->notify(kTx);
  };
  while (device_->stats().tx_blocked == 0) fill();
  EXPECT_LT(returned, sent);
  std::size_t got = 0;
  const auto drain = [&] {
    const std::size_t before = got;
    while (const auto bytes = peer_->take())
      EXPECT_EQ(*bytes, frame(1500, static_cast<char>('a' + got++ % 26)));
    return got != before;
  };
  ASSERT_TRUE(run_until([&] {
    while (drain()) fill();
    return got == 2000;
  }));
  EXPECT_EQ(device_->stats().tx_dropped, 0U);
}

TEST_F(StreamDevice, TakesTheLinkDownWhenThePeerGoes) {
  activate();
  EXPECT_EQ(config(*device_, 6, 2), std::string("\1\0", 2));
  peer_->close();
  ASSERT_TRUE(run_until([&] { return !device_->link_up(); }));
  EXPECT_EQ(config(*device_, 6, 2), std::string("\0\0", 2));
  EXPECT_EQ(guest_->config_changes, 1U);
  EXPECT_TRUE(guest_->request(kTx, {guest_->readable(kNoHeader + frame(60, 'x'))}));
  EXPECT_EQ(device_->stats().tx_dropped, 1U);
  EXPECT_FALSE(guest_->failure);
}

TEST_F(StreamDevice, TakesTheLinkDownWhenThePeerBreaksTheFraming) {
  activate();
  peer_->write_raw("\xff\xff\xff\xff");
  ASSERT_TRUE(run_until([&] { return !device_->link_up(); }));
  EXPECT_FALSE(guest_->failure);
}

TEST_F(StreamDevice, DeliversWhatCameBeforeThePeerWent) {
  activate();
  const auto buffer = offer_buffer();
  peer_->send(frame(60, 'l'));
  peer_->close();
  ASSERT_TRUE(run_until([&] { return !device_->link_up(); }));
  EXPECT_EQ(received(buffer, 60), frame(60, 'l'));
}

TEST_F(StreamDevice, WorksForTheNextDriverAfterAReset) {
  activate();
  peer_->send(frame(60, 'k'));
  ASSERT_TRUE(run_until([&] { return device_->stats().rx_no_buffer == 1; }));
  device_->reset();
  Guest next(*device_);
  ASSERT_TRUE(next.activate(device_->features() & ~net_feature::kMergeBuffers));
  const auto buffer = next.writable(2048);
  next.driver(kRx).add({buffer});
  next.notify(kRx);
  EXPECT_EQ(next.text(buffer.address + 12, 60), frame(60, 'k'));
  EXPECT_TRUE(next.request(kTx, {next.readable(kNoHeader + frame(60, 'y'))}));
  EXPECT_EQ(peer_->take(), frame(60, 'y'));
}

TEST_F(StreamDevice, FailsOnAFrameWithoutAWholeHeader) {
  activate();
  guest_->request(kTx, {guest_->readable("12345678901")});
  ASSERT_TRUE(guest_->failure);
  EXPECT_EQ(guest_->failure->code(), Errc::kGuestFault);
}

TEST_F(StreamDevice, FailsOnAReceiveBufferWithoutRoomForTheHeader) {
  activate();
  offer_buffer(11);
  peer_->send(frame(60, 'a'));
  ASSERT_TRUE(run_until([&] { return guest_->failure.has_value(); }));
  EXPECT_THAT(guest_->failure->text(), HasSubstr("no room for the header"));
}

TEST_F(StreamDevice, FailsOnARequestOutsideOfMemory) {
  activate();
  guest_->request(kTx, {{0x4000'0000, 100, false}});
  ASSERT_TRUE(guest_->failure);
}

TEST_F(StreamDevice, DropsFramesThatAreTooShortOrTooLong) {
  activate();
  EXPECT_TRUE(guest_->request(kTx, {guest_->readable(kNoHeader + frame(13, 's'))}));
  EXPECT_TRUE(guest_->request(
      kTx, {guest_->readable(kNoHeader), guest_->writable(4), guest_->writable(4)}));
  EXPECT_TRUE(guest_->request(kTx, {guest_->readable(kNoHeader + frame(65'600, 'l'))}));
  EXPECT_EQ(device_->stats().tx_dropped, 3U);
  EXPECT_EQ(peer_->take(), std::nullopt);
}

NetSettings tx_limited(std::uint64_t bytes, std::uint64_t refill_ms) {
  NetSettings out;
  out.tx.bandwidth = BucketLimits{bytes, 0, refill_ms};
  return out;
}

TEST_F(StreamDevice, HoldsBackFramesOverTheLimitAndSendsThemLater) {
  activate(tx_limited(1000, 50));
  send(frame(1000, 'a'));
  send(frame(1000, 'b'));
  guest_->notify(kTx);
  EXPECT_EQ(peer_->take(), frame(1000, 'a'));
  EXPECT_EQ(peer_->take(), std::nullopt);
  EXPECT_EQ(device_->stats().tx_limited, 1U);
  ASSERT_TRUE(run_until([&] { return device_->stats().tx_frames == 2; }));
  EXPECT_EQ(peer_->take(), frame(1000, 'b'));
}

TEST_F(StreamDevice, SendsAtOnceWhatAnUpdateOfTheLimitLetsPass) {
  activate(tx_limited(1000, 3'600'000));
  send(frame(1000, 'a'));
  send(frame(1000, 'b'));
  guest_->notify(kTx);
  ASSERT_EQ(device_->stats().tx_frames, 1U);
  RateLimits unlimited;
  unlimited.bandwidth = BucketLimits{};
  device_->update_limits({}, unlimited);
  EXPECT_EQ(device_->stats().tx_frames, 2U);
}

TEST_F(StreamDevice, HoldsBackReceivedFramesOverTheLimitToo) {
  NetSettings settings;
  settings.rx.ops = BucketLimits{1, 0, 50};
  activate(settings);
  offer_buffer();
  offer_buffer();
  peer_->send(frame(60, 'a'));
  peer_->send(frame(60, 'b'));
  ASSERT_TRUE(run_until([&] { return device_->stats().rx_limited == 1; }));
  EXPECT_EQ(device_->stats().rx_frames, 1U);
  ASSERT_TRUE(run_until([&] { return device_->stats().rx_frames == 2; }));
}

TEST_F(StreamDevice, CarriesItsLimitsThroughASnapshot) {
  activate(tx_limited(1000, 3'600'000));
  send(frame(1000, 'a'));
  guest_->notify(kTx);
  ByteWriter saved;
  device_->save(saved);
  const auto bytes = saved.take();
  StreamPair pair = make_stream_pair();
  NetDevice copy(std::move(pair.backend), {});
  ByteReader reader(bytes);
  ASSERT_TRUE(copy.restore(reader));
  EXPECT_TRUE(reader.done());
  Guest guest(copy);
  ASSERT_TRUE(guest.activate(copy.features() & ~net_feature::kMergeBuffers));
  EXPECT_FALSE(guest.request(kTx, {guest.readable(kNoHeader + frame(1000, 'b'))}));
  EXPECT_EQ(copy.stats().tx_limited, 1U);
}

TEST_F(StreamDevice, RefusesASavedStateThatIsCutOff) {
  activate();
  ByteWriter saved;
  device_->save(saved);
  auto bytes = saved.take();
  bytes.pop_back();
  StreamPair pair = make_stream_pair();
  NetDevice copy(std::move(pair.backend), {});
  ByteReader reader(bytes);
  EXPECT_EQ(copy.restore(reader).error().code(), Errc::kCorrupt);
}

TEST_F(StreamDevice, SendsWhatARestoredGuestHadQueuedWithoutANotification) {
  StreamPair pair = make_stream_pair();
  NetDevice device(std::move(pair.backend), {});
  Guest guest(device);
  guest.driver(kTx).add({guest.readable(kNoHeader + frame(60, 'q'))});
  ASSERT_TRUE(guest.activate(device.features() & ~net_feature::kMergeBuffers));
  EXPECT_EQ(pair.peer.take(), frame(60, 'q'));
}

TEST(NetDevice, ShowsMacAndMtuInItsConfiguration) {
  StreamPair pair = make_stream_pair();
  NetSettings settings;
  settings.mac = {2, 0xfc, 0, 0, 0, 5};
  settings.mtu = 9000;
  const NetDevice device(std::move(pair.backend), settings);
  EXPECT_EQ(config(device, 0, 16),
            std::string("\x02\xfc\x00\x00\x00\x05\x01\x00\x01\x00\x28\x23\0\0\0\0", 16));
  EXPECT_EQ(config(device, 0xffff'fffe, 4), std::string(4, '\0'));
  EXPECT_NE(device.features() & net_feature::kMac, 0U);
  EXPECT_NE(device.features() & net_feature::kMtu, 0U);
}

TEST(NetDevice, LetsTheGuestChooseWhatIsNotSet) {
  StreamPair pair = make_stream_pair();
  const NetDevice device(std::move(pair.backend), {});
  EXPECT_EQ(device.features() & (net_feature::kMac | net_feature::kMtu | net_feature::kOffloads),
            0U);
}

TEST(NetDevice, RefusesADriverWithoutBothQueues) {
  StreamPair pair = make_stream_pair();
  NetDevice device(std::move(pair.backend), {});
  Guest guest(device);
  ASSERT_TRUE(guest.activate());
  device.reset();
  guest.queue(kRx).reset();
  EXPECT_EQ(device.activate(guest).error().code(), Errc::kGuestFault);
}

}  // namespace
}  // namespace mvm::vmm
