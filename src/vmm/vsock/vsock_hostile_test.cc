// SPDX-License-Identifier: Apache-2.0
// Guests that break the rules: each costs its connection or its device, nothing else.
#include <gtest/gtest.h>

#include "vmm/vsock/testing_vsock.h"
#include "vmm/vsock/vsock_device.h"

namespace mvm::vmm {
namespace {

using testing_vsock::HostEnd;
using testing_vsock::Packet;
using testing_vsock::Rig;
using testing_vsock::VsockGuest;

class VsockHostile : public testing::Test {
 protected:
  // After whatever happened, the device still serves an honest connection.
  void expect_service() {
    std::uint32_t port = 0;
    HostEnd client = rig.connect(99, &port);
    client.write("hello");
    EXPECT_EQ(rig.guest.expect().payload, "hello");
    EXPECT_FALSE(rig.guest.model().failure);
  }
  Rig rig;
  std::uint32_t local = 0;
};

TEST_F(VsockHostile, DropsAChainThatIsNoPacket) {
  rig.ready();
  rig.guest.send_raw("short");
  EXPECT_EQ(rig.guest.tx_under_way(), 0U);
  EXPECT_FALSE(rig.guest.receive());
  EXPECT_EQ(rig.device->metrics().malformed_packets, 1U);
  expect_service();
}

TEST_F(VsockHostile, DropsAPacketInAnotherGuestsName) {
  rig.ready();
  PacketHeader header = rig.guest.header(PacketOp::kRequest, 1, 2);
  header.source_cid = VsockGuest::kCid + 1;
  rig.guest.send(header);
  EXPECT_FALSE(rig.guest.receive());
  expect_service();
}

TEST_F(VsockHostile, DropsAPacketForAnotherGuest) {
  rig.ready();
  PacketHeader header = rig.guest.header(PacketOp::kRequest, 1, 2);
  header.destination_cid = VsockGuest::kCid + 1;
  rig.guest.send(header);
  EXPECT_FALSE(rig.guest.receive());
  expect_service();
}

TEST_F(VsockHostile, ResetsATypeThatIsNotOffered) {
  rig.ready();
  PacketHeader header = rig.guest.header(PacketOp::kRequest, 1, 2);
  header.type = 2;
  rig.guest.send(header);
  const Packet reset = rig.guest.expect();
  EXPECT_EQ(reset.header.op, PacketOp::kReset);
  EXPECT_EQ(reset.header.type, 2U);
  expect_service();
}

TEST_F(VsockHostile, ResetsPacketsOfNoConnection) {
  rig.ready();
  rig.guest.send(PacketOp::kData, 1, 2, "to nobody");
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
  rig.guest.send(PacketOp::kReset, 1, 2);
  EXPECT_FALSE(rig.guest.receive());  // a reset is not answered by one
  expect_service();
}

TEST_F(VsockHostile, ResetsAConnectionWithAnUnknownOperation) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  rig.guest.send(PacketOp{77}, 7, local);
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
  EXPECT_TRUE(client.at_end());
  expect_service();
}

TEST_F(VsockHostile, ResetsAConnectionWithMoreLengthThanPayload) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  PacketHeader header = rig.guest.header(PacketOp::kData, 7, local);
  header.length = 0xffff'ffff;
  rig.guest.send(header, "few");
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
  EXPECT_TRUE(client.at_end());
  expect_service();
}

TEST_F(VsockHostile, IgnoresDataOfNoLength) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  rig.guest.send(PacketOp::kData, 7, local);
  rig.guest.send(PacketOp::kData, 7, local, "on");
  EXPECT_EQ(client.read(), "on");
}

TEST_F(VsockHostile, ResetsDataBeforeTheConnectionStands) {
  rig.ready();
  HostEnd client = rig.client();
  client.write("CONNECT 7\n");
  const Packet request = rig.guest.expect();
  rig.guest.send(PacketOp::kData, 7, request.header.source_port, "early");
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
  EXPECT_TRUE(client.at_end());
}

TEST_F(VsockHostile, ResetsDataAfterTheGuestsEnd) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  rig.guest.send(PacketOp::kShutdown, 7, local, {}, kShutdownSend);
  rig.guest.send(PacketOp::kData, 7, local, "late");
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
  EXPECT_EQ(client.read(), "");
}

TEST_F(VsockHostile, ResetsASecondRequestForTheSamePorts) {
  rig.ready();
  HostEnd server = rig.accept(1000, 52);
  rig.guest.send(PacketOp::kRequest, 1000, 52);
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
  EXPECT_TRUE(server.at_end());
}

TEST_F(VsockHostile, ResetsAResponseThatWasNotAskedFor) {
  rig.ready();
  HostEnd server = rig.accept(1000, 52);
  rig.guest.send(PacketOp::kResponse, 1000, 52);
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
  EXPECT_TRUE(server.at_end());
}

TEST_F(VsockHostile, GivesBackRxBuffersWithoutRoom) {
  (void)rig.guest.activate();
  rig.guest.give(3, PacketHeader::kSize);
  rig.guest.send(PacketOp::kData, 1, 2, "to nobody");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(rig.guest.receive(true)->header, PacketHeader{});
  EXPECT_EQ(rig.device->metrics().small_rx_buffers, 3U);
  rig.guest.give(8);
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
}

TEST_F(VsockHostile, SurvivesSmallRxBuffersInTheMiddleOfABatch) {
  (void)rig.guest.activate();
  rig.guest.give(4);
  rig.guest.give(1, 10);
  rig.guest.give(30);
  HostEnd client = rig.connect(7, &local);
  client.write(std::string(60000, 'x'));
  std::size_t got = 0;
  while (got < 60000) got += rig.guest.expect().payload.size();
  EXPECT_GE(rig.device->metrics().small_rx_buffers, 1U);
}

TEST_F(VsockHostile, ForgetsResetsThatAFloodDoesNotFetch) {
  rig.ready(0);
  for (std::uint32_t i = 0; i < Muxer::kMostResets + 100; ++i)
    rig.guest.send(PacketOp::kData, i, 2, "flood");
  EXPECT_EQ(rig.device->metrics().resets_dropped, 100U);
  EXPECT_EQ(rig.guest.tx_under_way(), 0U);
}

TEST_F(VsockHostile, RefusesConnectionsOverTheLimit) {
  rig.ready(256);
  const auto listener = sys::listen_unix(rig.device->uds_path() + "_52").value();
  std::vector<sys::UniqueFd> accepted;
  for (std::uint32_t i = 0; i < Muxer::kMostConnections; ++i) {
    rig.guest.send(PacketOp::kRequest, i, 52);
    ASSERT_EQ(rig.guest.expect().header.op, PacketOp::kResponse);
    accepted.push_back(sys::accept_connection(listener.get()).value());
  }
  rig.guest.send(PacketOp::kRequest, 5000, 52);
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
}

TEST_F(VsockHostile, LetsOthersHaveTheirTurnDuringAFlood) {
  rig.ready(0);
  const std::uint16_t before = rig.guest.tx_added();
  for (int i = 0; i < 256; ++i)
    rig.guest.queue_raw(VsockGuest::bytes_of(rig.guest.header(PacketOp::kReset, 1, 2)));
  rig.guest.kick_tx(before);
  EXPECT_GT(rig.guest.tx_under_way(), 0U);  // left for a later turn of the loop, not forgotten
  EXPECT_TRUE(rig.guest.model().run_until([&] { return rig.guest.tx_under_way() == 0; }));
}

TEST_F(VsockHostile, FailsTheDeviceOnADescriptorOfNoBytes) {
  rig.ready();
  rig.guest.model().driver(1).add({{VsockGuest::kTxArea, 0, false}});
  rig.guest.model().notify(1);
  ASSERT_TRUE(rig.guest.model().failure);
  EXPECT_EQ(rig.guest.model().failure->code(), Errc::kGuestFault);
}

TEST_F(VsockHostile, FailsTheDeviceOnABrokenTxQueue) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  rig.guest.model().driver(1).set_available_index(static_cast<std::uint16_t>(5000));
  rig.guest.model().notify(1);
  ASSERT_TRUE(rig.guest.model().failure);
  EXPECT_EQ(rig.guest.model().failure->code(), Errc::kGuestFault);
  EXPECT_TRUE(client.at_end());
  EXPECT_EQ(rig.device->metrics().tx_queue_event_fails, 1U);
}

TEST_F(VsockHostile, FailsTheDeviceOnABrokenRxQueue) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  rig.guest.model().driver(0).set_available_index(static_cast<std::uint16_t>(5000));
  client.write("x");
  rig.guest.model().run_until([&] { return rig.guest.model().failure.has_value(); });
  ASSERT_TRUE(rig.guest.model().failure);
  EXPECT_EQ(rig.device->connections(), 0U);
}

TEST_F(VsockHostile, RefusesToStartWithoutItsQueues) {
  rig.ready();
  rig.device->reset();
  rig.guest.model().queue(1).reset();
  const auto activated = rig.device->activate(rig.guest.model());
  ASSERT_FALSE(activated);
  EXPECT_EQ(activated.error().code(), Errc::kGuestFault);
}

TEST_F(VsockHostile, LivesWithCreditThatMakesNoSense) {
  rig.ready();
  HostEnd client = rig.connect(7, &local);
  rig.guest.fwd_cnt = 0xffff'0000;
  rig.guest.buf_alloc = 0xffff'ffff;
  rig.guest.send(PacketOp::kCreditUpdate, 7, local);
  client.write("hello");
  EXPECT_EQ(rig.guest.expect().payload, "hello");
}

}  // namespace
}  // namespace mvm::vmm
