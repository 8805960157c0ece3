// SPDX-License-Identifier: Apache-2.0
// The device as a whole: its socket, its handshakes, and what a snapshot keeps of it.
#include "vmm/vsock/vsock_device.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "vmm/vsock/testing_vsock.h"

namespace mvm::vmm {
namespace {

using testing_vsock::HostEnd;
using testing_vsock::Packet;
using testing_vsock::Rig;
using testing_vsock::VsockGuest;

TEST(VsockDevice, RefusesReservedCids) {
  const testing_vsock::ScratchDir dir;
  for (const std::uint64_t cid : {0ULL, 1ULL, 2ULL, 0xffff'ffffULL, 1ULL << 32}) {
    const auto device = VsockDevice::create(cid, dir.file("s"));
    ASSERT_FALSE(device);
    EXPECT_EQ(device.error().code(), Errc::kInvalidArgument);
  }
  EXPECT_FALSE(sys::path_exists(dir.file("s")));
}

TEST(VsockDevice, RefusesAnExistingPath) {
  const Rig rig;
  const auto second = VsockDevice::create(5, rig.device->uds_path());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Errc::kBusy);
}

TEST(VsockDevice, UnlinksItsPath) {
  Rig rig;
  const std::string path = rig.device->uds_path();
  EXPECT_TRUE(sys::path_exists(path));
  rig.device.reset();
  EXPECT_FALSE(sys::path_exists(path));
}

TEST(VsockDevice, ShowsItsCidInTheConfiguration) {
  const Rig rig;
  std::array<std::byte, 12> out;
  rig.device->read_config(0, out);
  EXPECT_EQ(out[0], std::byte{VsockGuest::kCid});
  EXPECT_EQ(out[11], std::byte{0});
  rig.device->read_config(1, std::span(out).first(4));
  EXPECT_EQ(out[0], std::byte{0});
}

TEST(VsockDevice, ConnectsAClientToAPortOfTheGuest) {
  Rig rig;
  rig.ready();
  HostEnd client = rig.client();
  client.write("CONNECT 1024\n");
  const Packet request = rig.guest.expect();
  EXPECT_EQ(request.header.op, PacketOp::kRequest);
  EXPECT_EQ(request.header.source_cid, kHostCid);
  EXPECT_EQ(request.header.destination_cid, VsockGuest::kCid);
  EXPECT_EQ(request.header.source_port, 1U << 30);
  EXPECT_EQ(request.header.destination_port, 1024U);
  EXPECT_EQ(request.header.buf_alloc, Muxer::kLargeBuffer);
  rig.guest.send(PacketOp::kResponse, 1024, request.header.source_port);
  EXPECT_EQ(client.read(), "OK 1073741824\n");
}

TEST(VsockDevice, ClosesAClientThatTheGuestRefuses) {
  Rig rig;
  rig.ready();
  HostEnd client = rig.client();
  client.write("CONNECT 1024\n");
  const Packet request = rig.guest.expect();
  rig.guest.send(PacketOp::kReset, 1024, request.header.source_port);
  EXPECT_TRUE(client.at_end());
  EXPECT_EQ(rig.device->connections(), 0U);
}

TEST(VsockDevice, ClosesAClientThatTheGuestDoesNotAnswer) {
  Rig rig;
  rig.ready();
  HostEnd client = rig.client();
  client.write("CONNECT 1024\n");
  rig.guest.expect();
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
  EXPECT_TRUE(client.at_end());
}

TEST(VsockDevice, ResetsARequestWhoseClientIsGone) {
  Rig rig;
  rig.ready();
  HostEnd client = rig.client();
  client.write("CONNECT 1024\n");
  rig.guest.expect();
  client.close();
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kReset);
}

TEST(VsockDevice, TakesALineThatComesInPieces) {
  Rig rig;
  rig.ready();
  HostEnd client = rig.client();
  client.write("CONN");
  rig.guest.model().turn();
  rig.guest.model().turn();
  client.write("ECT 7\n");
  EXPECT_EQ(rig.guest.expect().header.destination_port, 7U);
}

TEST(VsockDevice, KeepsWhatFollowsTheLineForTheGuest) {
  Rig rig;
  rig.ready();
  HostEnd client = rig.client();
  client.write("CONNECT 7\nhello");
  const Packet request = rig.guest.expect();
  rig.guest.send(PacketOp::kResponse, 7, request.header.source_port);
  const Packet data = rig.guest.expect();
  EXPECT_EQ(data.header.op, PacketOp::kData);
  EXPECT_EQ(data.payload, "hello");
}

TEST(VsockDevice, ClosesAClientWithALineThatIsTooLong) {
  Rig rig;
  rig.ready();
  HostEnd client = rig.client();
  client.write("CONNECT 0000000000000000000000000000000007\n");
  EXPECT_TRUE(rig.guest.model().run_until([&] { return client.at_end() || errno == ECONNRESET; }));
  EXPECT_EQ(rig.device->connections(), 0U);
}

TEST(VsockDevice, ClosesAClientWithAnotherLine) {
  Rig rig;
  rig.ready();
  HostEnd client = rig.client();
  client.write("HELLO 7\n");
  EXPECT_TRUE(rig.guest.model().run_until([&] { return client.at_end(); }));
}

TEST(VsockDevice, LetsClientsWaitForTheDriver) {
  Rig rig;
  HostEnd client = rig.client();
  client.write("CONNECT 7\n");
  rig.ready();
  EXPECT_EQ(rig.guest.expect().header.op, PacketOp::kRequest);
}

TEST(VsockDevice, ConnectsTheGuestToAListenerOfTheHost) {
  Rig rig;
  rig.ready();
  const auto listener = sys::listen_unix(rig.device->uds_path() + "_52").value();
  rig.guest.send(PacketOp::kRequest, 1000, 52);
  const Packet response = rig.guest.expect();
  EXPECT_EQ(response.header.op, PacketOp::kResponse);
  EXPECT_EQ(response.header.source_port, 52U);
  EXPECT_EQ(response.header.destination_port, 1000U);
  HostEnd server(sys::accept_connection(listener.get()).value());
  rig.guest.send(PacketOp::kData, 1000, 52, "from the guest");
  EXPECT_EQ(server.read(), "from the guest");
  server.write("from the host");
  EXPECT_EQ(rig.guest.expect().payload, "from the host");
}

TEST(VsockDevice, ResetsTheGuestWhereNobodyListens) {
  Rig rig;
  rig.ready();
  rig.guest.send(PacketOp::kRequest, 1000, 52);
  const Packet reset = rig.guest.expect();
  EXPECT_EQ(reset.header.op, PacketOp::kReset);
  EXPECT_EQ(reset.header.source_port, 52U);
  EXPECT_EQ(reset.header.destination_port, 1000U);
}

TEST(VsockDevice, GivesEachClientItsOwnPort) {
  Rig rig;
  rig.ready();
  std::uint32_t first = 0, second = 0;
  const HostEnd a = rig.connect(7, &first);
  const HostEnd b = rig.connect(7, &second);
  EXPECT_NE(first, second);
}

TEST(VsockDevice, ClosesAllConnectionsWhenTheDriverGoesAway) {
  Rig rig;
  rig.ready();
  std::uint32_t local = 0;
  HostEnd client = rig.connect(7, &local);
  rig.device->reset();
  EXPECT_TRUE(client.at_end());
  EXPECT_EQ(rig.device->connections(), 0U);
}

TEST(VsockDevice, ServesAThousandConnectionsAndRefusesOver1023) {
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, 8192);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  Rig rig;
  rig.ready(256);
  std::vector<HostEnd> clients;
  std::vector<std::uint32_t> ports(Muxer::kMostConnections);
  for (std::uint32_t i = 0; i < Muxer::kMostConnections; ++i)
    clients.push_back(rig.connect(i, &ports[i]));
  EXPECT_EQ(rig.device->connections(), Muxer::kMostConnections);

  HostEnd refused = rig.client();
  EXPECT_TRUE(rig.guest.model().run_until([&] { return refused.at_end(); }));
  for (std::uint32_t i = 0; i < clients.size(); ++i)
    rig.guest.send(PacketOp::kData, i, ports[i], "to " + std::to_string(i));
  for (std::uint32_t i = 0; i < clients.size(); ++i)
    ASSERT_EQ(clients[i].read(), "to " + std::to_string(i));
  for (HostEnd& client : clients) client.write("x");
  std::vector<bool> seen(clients.size());
  for (std::size_t i = 0; i < clients.size(); ++i)
    seen[rig.guest.expect().header.destination_port] = true;
  EXPECT_EQ(std::ranges::count(seen, true), static_cast<std::ptrdiff_t>(clients.size()));
}

TEST(VsockDevice, CountsBytesAndPackets) {
  Rig rig;
  rig.ready();
  std::uint32_t local = 0;
  HostEnd client = rig.connect(7, &local);
  client.write("12345");
  rig.guest.expect();
  rig.guest.send(PacketOp::kData, 7, local, "123");
  const VsockMetrics& metrics = rig.device->metrics();
  EXPECT_EQ(metrics.rx_bytes_count, 5U);
  EXPECT_EQ(metrics.tx_bytes_count, 3U);
  EXPECT_EQ(metrics.conns_added, 1U);
  EXPECT_EQ(metrics.rx_packets_count, 2U);
  EXPECT_EQ(metrics.tx_packets_count, 2U);
}

// ---- snapshots

std::vector<std::byte> saved(const VsockDevice& device) {
  ByteWriter out;
  device.save(out);
  return out.take();
}

// A device restored from `state` under another path, with its driver's memory as it was: event
// buffers are there, and the transport notifies every queue.
struct Restored {
  explicit Restored(const std::vector<std::byte>& state, std::size_t event_buffers = 8)
      : device([&] {
          ByteReader in(state);
          return VsockDevice::create_restored(in, dir.file("other.sock")).value();
        }()),
        guest(*device, true) {
    for (std::size_t i = 0; i < event_buffers; ++i) give_event_buffer();
    (void)guest.activate();
    guest.give(64);
    for (std::size_t queue = 0; queue < 3; ++queue) guest.model().notify(queue);
  }
  void give_event_buffer() { guest.model().driver(2).add({guest.model().writable(4)}); }

  testing_vsock::ScratchDir dir;
  std::unique_ptr<VsockDevice> device;
  VsockGuest guest;
};

TEST(VsockSnapshot, TellsTheRestoredGuestThatTheTransportWasReset) {
  Rig rig;
  rig.ready();
  Restored restored(saved(*rig.device));
  EXPECT_EQ(restored.device->guest_cid(), VsockGuest::kCid);
  EXPECT_EQ(restored.device->uds_path(), restored.dir.file("other.sock"));
  const auto event = restored.guest.model().driver(2).take_used();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->written, 4U);
  EXPECT_GT(restored.guest.model().interrupts, 0U);
}

TEST(VsockSnapshot, LeavesTheSavedDeviceItsConnections) {
  Rig rig;
  rig.ready();
  std::uint32_t local = 0;
  HostEnd client = rig.connect(7, &local);
  saved(*rig.device);
  client.write("still here");
  EXPECT_EQ(rig.guest.expect().payload, "still here");
}

TEST(VsockSnapshot, SendsNothingBeforeTheGuestHasHandledTheReset) {
  Rig rig;
  rig.ready();
  Restored restored(saved(*rig.device));
  HostEnd client(sys::connect_unix(restored.device->uds_path()).value());
  client.write("CONNECT 7\n");
  restored.guest.model().turn();
  restored.guest.model().turn();
  EXPECT_FALSE(restored.guest.receive());
  ASSERT_TRUE(restored.guest.model().driver(2).take_used());
  restored.give_event_buffer();
  restored.guest.model().notify(2);
  EXPECT_EQ(restored.guest.expect().header.op, PacketOp::kRequest);
}

TEST(VsockSnapshot, WaitsForBothEventsWhenTheFirstWasNotHandledYet) {
  Rig rig;
  rig.ready();
  Restored first(saved(*rig.device));
  // Taken before the guest ran: seven buffers are left, the first event lies in its ring.
  Restored second(saved(*first.device), 7);
  HostEnd client(sys::connect_unix(second.device->uds_path()).value());
  client.write("CONNECT 7\n");
  second.give_event_buffer();
  second.guest.model().notify(2);
  second.guest.model().turn();
  second.guest.model().turn();
  EXPECT_FALSE(second.guest.receive());
  second.give_event_buffer();
  second.guest.model().notify(2);
  EXPECT_EQ(second.guest.expect().header.op, PacketOp::kRequest);
}

TEST(VsockSnapshot, WorksForADriverWithoutEventBuffers) {
  Rig rig;
  rig.ready();
  Restored restored(saved(*rig.device), 0);
  HostEnd client(sys::connect_unix(restored.device->uds_path()).value());
  client.write("CONNECT 7\n");
  EXPECT_EQ(restored.guest.expect().header.op, PacketOp::kRequest);
}

TEST(VsockSnapshot, SaysNothingOfAResetWhenTheDriverWasNotReady) {
  const Rig rig;
  Restored restored(saved(*rig.device));
  EXPECT_FALSE(restored.guest.model().driver(2).take_used());
}

TEST(VsockSnapshot, ResetsTheGuestsOldConnections) {
  Rig rig;
  rig.ready();
  std::uint32_t local = 0;
  const HostEnd client = rig.connect(7, &local);
  Restored restored(saved(*rig.device), 0);
  restored.guest.send(PacketOp::kData, 7, local, "lost");
  EXPECT_EQ(restored.guest.expect().header.op, PacketOp::kReset);
}

TEST(VsockSnapshot, GoesOnCountingHostPorts) {
  Rig rig;
  rig.ready();
  std::uint32_t before = 0;
  const HostEnd client = rig.connect(7, &before);
  Restored restored(saved(*rig.device), 0);
  HostEnd again(sys::connect_unix(restored.device->uds_path()).value());
  again.write("CONNECT 7\n");
  EXPECT_EQ(restored.guest.expect().header.source_port, before + 1);
}

TEST(VsockSnapshot, RefusesAStateThatIsCutAnywhere) {
  Rig rig;
  const std::vector<std::byte> state = saved(*rig.device);
  for (std::size_t length = 0; length < state.size(); ++length) {
    ByteReader in(std::span<const std::byte>(state.data(), length));
    const testing_vsock::ScratchDir dir;
    const auto device = VsockDevice::create_restored(in, dir.file("s"));
    ASSERT_FALSE(device);
    EXPECT_EQ(device.error().code(), Errc::kCorrupt);
  }
}

TEST(VsockSnapshot, RefusesTheStateOfAnotherCid) {
  Rig rig;
  const std::vector<std::byte> state = saved(*rig.device);
  const auto other = VsockDevice::create(VsockGuest::kCid + 1, rig.dir.file("o.sock")).value();
  ByteReader in(state);
  const auto restored = other->restore(in);
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code(), Errc::kCorrupt);
}

}  // namespace
}  // namespace mvm::vmm
