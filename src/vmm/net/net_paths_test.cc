// SPDX-License-Identifier: Apache-2.0
// Offloads, the metadata service and frames over several buffers, with a backend that does as the
// test says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/mmds/packet.h"
#include "vmm/mmds/testing_client.h"
#include "vmm/net/net_device.h"
#include "vmm/net/testing_net.h"
#include "vmm/virtio/testing_driver.h"

namespace mvm::vmm {
namespace {

using namespace testing_net;
using testing_driver::Guest;

constexpr std::size_t kRx = NetDevice::kReceive;
constexpr std::size_t kTx = NetDevice::kTransmit;
const std::string kNoHeader(sizeof(NetHeader), '\0');

// A device over a backend with offloads.
class ScriptedDevice : public ::testing::Test {
 protected:
  void activate(std::uint64_t offloads) {
    auto backend = std::make_unique<ScriptedBackend>(net_feature::kOffloads);
    backend_ = backend.get();
    device_ = std::make_unique<NetDevice>(std::move(backend), NetSettings{});
    guest_ = std::make_unique<Guest>(*device_);
    ASSERT_TRUE(guest_->activate(offloads | net_feature::kStatus));
  }
  bool send(NetHeader header) {
    const std::size_t before = backend_->sent.size();
    EXPECT_TRUE(guest_->request(kTx, {guest_->readable(header_bytes(header) + frame(3000, 't'))}));
    return backend_->sent.size() > before;
  }
  ScriptedBackend* backend_ = nullptr;
  std::unique_ptr<NetDevice> device_;
  std::unique_ptr<Guest> guest_;
};

TEST_F(ScriptedDevice, PassesOnTheOffloadsThatTheDriverAccepted) {
  activate(net_feature::kChecksum | net_feature::kHostTso4 | net_feature::kGuestTso6);
  EXPECT_EQ(backend_->accepted_offloads,
            net_feature::kChecksum | net_feature::kHostTso4 | net_feature::kGuestTso6);
  NetHeader header;
  header.flags = kHeaderNeedsChecksum;
  header.gso_type = kGsoTcp4;
  header.gso_size = 1448;
  ASSERT_TRUE(send(header));
  EXPECT_EQ(header_bytes(backend_->sent[0].first), header_bytes(header));
  EXPECT_EQ(backend_->sent[0].second, frame(3000, 't'));
}

TEST_F(ScriptedDevice, DropsFramesWithOffloadsThatWereNotNegotiated) {
  activate(0);
  NetHeader header;
  header.flags = kHeaderNeedsChecksum;
  EXPECT_FALSE(send(header));
  header.flags = 0;
  for (const int type : {1, 3, 4, 5, 0x80, 0x81, 0xff}) {
    header.gso_type = static_cast<std::uint8_t>(type);
    EXPECT_FALSE(send(header)) << type;
  }
  EXPECT_EQ(device_->stats().tx_dropped, 8U);
  header.gso_type = 0;
  EXPECT_TRUE(send(header));
}

TEST_F(ScriptedDevice, HandsTheHostsHeaderToTheGuest) {
  activate(net_feature::kGuestChecksum | net_feature::kGuestTso4);
  NetHeader header;
  header.flags = kHeaderNeedsChecksum;
  header.gso_type = kGsoTcp4;
  header.checksum_start = 34;
  header.buffers = 77;
  backend_->incoming.emplace_back(header, frame(4000, 'h'));
  const auto buffer = guest_->writable(8192);
  guest_->driver(kRx).add({buffer});
  ASSERT_TRUE(guest_->run_until([&] { return device_->stats().rx_frames == 1; }));
  header.buffers = 1;
  EXPECT_EQ(guest_->text(buffer.address, sizeof header), header_bytes(header));
}

TEST_F(ScriptedDevice, CountsAFrameThatTheHostRefusesAndGoesOn) {
  activate(0);
  backend_->answer = NetBackend::Sent::kRefused;
  EXPECT_FALSE(send({}));
  backend_->answer = NetBackend::Sent::kYes;
  EXPECT_TRUE(send({}));
  EXPECT_EQ(device_->stats().tx_dropped, 1U);
}

TEST_F(ScriptedDevice, SendsTheSameFrameAgainWhenTheHostWasFull) {
  activate(0);
  backend_->answer = NetBackend::Sent::kFull;
  guest_->driver(kTx).add({guest_->readable(kNoHeader + frame(60, 'f'))});
  guest_->notify(kTx);
  EXPECT_EQ(device_->stats().tx_blocked, 1U);
  EXPECT_FALSE(guest_->driver(kTx).take_used());
  backend_->answer = NetBackend::Sent::kYes;
  // An event descriptor is always writable.
  ASSERT_TRUE(guest_->run_until([&] { return device_->stats().tx_frames == 1; }));
  EXPECT_EQ(backend_->sent[0].second, frame(60, 'f'));
}

TEST_F(ScriptedDevice, FlushesOnceABatch) {
  activate(0);
  const int before = backend_->flushes;
  for (int i = 0; i < 20; ++i)
    guest_->driver(kTx).add({guest_->readable(kNoHeader + frame(60, 'x'))});
  guest_->notify(kTx);
  EXPECT_EQ(backend_->flushes, before + 1);
  EXPECT_EQ(backend_->sent.size(), 20U);
}

// A device whose guest may ask the metadata service.
class MmdsDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(service_->put(R"({"key": "value"})"));
    auto backend = std::make_unique<ScriptedBackend>(net_feature::kOffloads);
    backend_ = backend.get();
    device_ =
        std::make_unique<NetDevice>(std::move(backend), NetSettings{},
                                    std::make_unique<MmdsStack>(service_, MmdsStackSettings{}));
    guest_ = std::make_unique<Guest>(*device_);
    ASSERT_TRUE(guest_->activate(net_feature::kChecksum));
    for (int i = 0; i < 4; ++i) offer();
  }
  void offer() {
    buffers_.push_back(guest_->writable(2048));
    guest_->driver(kRx).add({buffers_.back()});
  }
  void send(const testing_client::Frame& bytes) {
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    EXPECT_TRUE(guest_->request(kTx, {guest_->readable(kNoHeader + text)}));
  }
  // The frame in the next buffer that was used.
  std::string take() {
    const auto used = guest_->driver(kRx).take_used();
    if (!used) return "nothing";
    return guest_->text(buffers_[taken_++].address + 12, used->written - 12);
  }
  std::shared_ptr<Mmds> service_ = std::make_shared<Mmds>();
  ScriptedBackend* backend_ = nullptr;
  std::unique_ptr<NetDevice> device_;
  std::unique_ptr<Guest> guest_;
  std::vector<testing_driver::Buffer> buffers_;
  std::size_t taken_ = 0;
};

TEST_F(MmdsDevice, AnswersArpForTheServiceAndShowsTheHostNothing) {
  send(testing_client::arp_request());
  const std::string reply = take();
  EXPECT_EQ(reply.substr(6, 6), std::string("\x06\x01\x23\x45\x67\x01"));
  EXPECT_TRUE(backend_->sent.empty());
  EXPECT_EQ(device_->stats().mmds_frames, 1U);
}

TEST_F(MmdsDevice, AnswersARequestOverHttp) {
  testing_client::Client client;
  send(client.send(kTcpSyn));
  const std::string syn_ack = take();
  const auto got = testing_client::take_apart(testing_client::bytes_of(syn_ack));
  client.expected = got.segment.sequence + 1;
  send(client.send(kTcpAck));
  send(client.send(kTcpAck, "GET /key HTTP/1.1\r\n\r\n"));
  EXPECT_THAT(take(), ::testing::EndsWith("\r\n\r\nvalue"));
  EXPECT_TRUE(backend_->sent.empty());
}

TEST_F(MmdsDevice, SendsAgainByItsTimerWhatTheGuestDoesNotAcknowledge) {
  testing_client::Client client;
  send(client.send(kTcpSyn));
  const std::string syn_ack = take();
  ASSERT_TRUE(guest_->run_until([&] { return device_->stats().rx_frames == 2; }));
  EXPECT_EQ(take(), syn_ack);
}

TEST_F(MmdsDevice, SendsTheHostWhatIsForOthers) {
  testing_client::Frame other = testing_client::arp_request();
  other[41] = std::byte{1};
  send(other);
  EXPECT_EQ(backend_->sent.size(), 1U);
  EXPECT_EQ(device_->stats().mmds_frames, 0U);
}

// A frame may take several of the guest's buffers.
class MergedDevice : public ScriptedDevice {
 protected:
  void SetUp() override { activate(net_feature::kMergeBuffers); }
  testing_driver::Buffer offer(std::uint32_t length) {
    const auto buffer = guest_->writable(length);
    guest_->driver(kRx).add({buffer});
    return buffer;
  }
  void arrive(const std::string& bytes) {
    backend_->incoming.emplace_back(NetHeader{}, bytes);
    guest_->notify(kRx);
  }
  std::uint32_t used_bytes() {
    const auto used = guest_->driver(kRx).take_used();
    return used ? used->written : 0;
  }
  static std::string merged_header(std::uint16_t buffers) {
    NetHeader header;
    header.buffers = buffers;
    return header_bytes(header);
  }
};

TEST_F(MergedDevice, SpreadsAFrameOverAsManyBuffersAsItTakes) {
  const auto first = offer(100);
  const auto second = offer(100);
  const auto third = offer(100);
  arrive(frame(88, 'a') + frame(100, 'b') + frame(7, 'c'));
  EXPECT_EQ(guest_->text(first.address, 100), merged_header(3) + frame(88, 'a'));
  EXPECT_EQ(guest_->text(second.address, 100), frame(100, 'b'));
  EXPECT_EQ(guest_->text(third.address, 8), frame(7, 'c') + std::string(1, '\0'));
  EXPECT_EQ(used_bytes(), 100U);
  EXPECT_EQ(used_bytes(), 100U);
  EXPECT_EQ(used_bytes(), 7U);
  EXPECT_EQ(guest_->interrupts, 1U);
}

TEST_F(MergedDevice, ShowsNoBufferOfAFrameBeforeTheLastOneIsThere) {
  const auto first = offer(100);
  arrive(frame(150, 'x'));
  EXPECT_EQ(used_bytes(), 0U);
  EXPECT_EQ(guest_->interrupts, 0U);
  offer(100);
  guest_->notify(kRx);
  EXPECT_EQ(used_bytes(), 100U);
  EXPECT_EQ(used_bytes(), 62U);
  EXPECT_EQ(guest_->text(first.address, 12), merged_header(2));
}

TEST_F(MergedDevice, DropsAFrameThatAllBuffersTogetherCannotHold) {
  for (int i = 0; i < 256; ++i) offer(12);
  arrive(frame(5000, 'x'));
  EXPECT_EQ(device_->stats().rx_dropped, 1U);
  arrive(frame(20, 'y'));
  EXPECT_EQ(used_bytes(), 12U);
  EXPECT_EQ(used_bytes(), 12U);
  EXPECT_EQ(used_bytes(), 8U);
  EXPECT_EQ(device_->stats().rx_frames, 1U);
}

TEST_F(MergedDevice, GivesUpAFrameInTheMiddleWhenTheLinkGoesDown) {
  offer(100);
  arrive(frame(150, 'x'));
  backend_->incoming.clear();
  backend_->gone = true;
  EXPECT_TRUE(guest_->request(kTx, {guest_->readable(kNoHeader + frame(60, 't'))}));
  EXPECT_FALSE(device_->link_up());
  EXPECT_EQ(used_bytes(), 0U);
  EXPECT_FALSE(guest_->failure);
}

TEST_F(MergedDevice, SavesAHalfDeliveredFrameAsNotDeliveredAtAll) {
  offer(100);
  arrive(frame(150, 'x'));
  ByteWriter out;
  guest_->queue(kRx).save(out);
  const auto saved = out.take();
  Queue copy(256);
  ByteReader in(saved);
  ASSERT_TRUE(copy.restore(in, guest_->memory(), false));
  Chain chain;
  EXPECT_TRUE(copy.pop(chain).value());
}

}  // namespace
}  // namespace mvm::vmm
