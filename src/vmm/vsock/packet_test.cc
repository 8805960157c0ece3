// SPDX-License-Identifier: Apache-2.0
#include "vmm/vsock/packet.h"

#include <gtest/gtest.h>

#include "vmm/vsock/testing_vsock.h"

namespace mvm::vmm {
namespace {

constexpr std::uint64_t kCid = 7;

PacketHeader sample() {
  PacketHeader out;
  out.source_cid = kCid;
  out.destination_cid = kHostCid;
  out.source_port = 0x01020304;
  out.destination_port = 0x05060708;
  out.length = 3;
  out.op = PacketOp::kData;
  out.flags = 1;
  out.buf_alloc = 0x1000;
  out.fwd_cnt = 0x20;
  return out;
}

// What the device makes of one chain of these bytes.
CheckedPacket check(std::string_view bytes) {
  const auto memory = GuestMemory::create(mebibytes(8)).value();
  testing_driver::DriverQueue driver(memory, 0x10'0000, 16);
  Queue queue(16);
  queue.setup() = driver.setup();
  (void)queue.enable(memory, false);
  memory.write(0x40'0000, std::as_bytes(std::span(bytes)));
  driver.add({{0x40'0000, static_cast<std::uint32_t>(bytes.size()), false}});
  Chain chain;
  (void)queue.pop(chain);
  return read_packet(chain, kCid);
}

std::string bytes_of(const PacketHeader& header, std::string_view payload = "abc") {
  return testing_vsock::VsockGuest::bytes_of(header, payload);
}

TEST(VsockPacket, EncodesTheFieldsInWireOrder) {
  const EncodedHeader raw = encode(sample());
  EXPECT_EQ(raw[0], std::byte{7});
  EXPECT_EQ(raw[8], std::byte{2});
  EXPECT_EQ(raw[16], std::byte{4});     // source port, low byte first
  EXPECT_EQ(raw[20], std::byte{8});     // destination port
  EXPECT_EQ(raw[24], std::byte{3});     // length
  EXPECT_EQ(raw[28], std::byte{1});     // type
  EXPECT_EQ(raw[30], std::byte{5});     // op
  EXPECT_EQ(raw[37], std::byte{0x10});  // buf_alloc
  EXPECT_EQ(raw[40], std::byte{0x20});  // fwd_cnt
}

TEST(VsockPacket, DecodesWhatItEncodes) { EXPECT_EQ(decode(encode(sample())), sample()); }

TEST(VsockPacket, AcceptsAWholePacket) {
  const CheckedPacket packet = check(bytes_of(sample()));
  EXPECT_EQ(packet.fault, PacketFault::kNone);
  EXPECT_EQ(packet.header, sample());
}

TEST(VsockPacket, RefusesAChainShorterThanTheHeader) {
  EXPECT_EQ(check(bytes_of(sample()).substr(0, 43)).fault, PacketFault::kShort);
}

TEST(VsockPacket, RefusesAnotherSource) {
  PacketHeader header = sample();
  header.source_cid = kCid + 1;
  EXPECT_EQ(check(bytes_of(header)).fault, PacketFault::kAddress);
}

TEST(VsockPacket, RefusesAnotherDestination) {
  PacketHeader header = sample();
  header.destination_cid = 3;
  EXPECT_EQ(check(bytes_of(header)).fault, PacketFault::kAddress);
}

TEST(VsockPacket, RefusesATypeThatIsNoStream) {
  PacketHeader header = sample();
  header.type = 2;
  EXPECT_EQ(check(bytes_of(header)).fault, PacketFault::kType);
}

TEST(VsockPacket, RefusesMorePayloadThanTheChainHas) {
  PacketHeader header = sample();
  header.length = 4;
  EXPECT_EQ(check(bytes_of(header)).fault, PacketFault::kLength);
}

TEST(VsockPacket, AcceptsLessPayloadThanTheChainHas) {
  PacketHeader header = sample();
  header.length = 2;
  EXPECT_EQ(check(bytes_of(header)).fault, PacketFault::kNone);
}

}  // namespace
}  // namespace mvm::vmm
