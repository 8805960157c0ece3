// SPDX-License-Identifier: Apache-2.0
#include "vmm/mmds/packet.h"

#include <gtest/gtest.h>

#include "vmm/mmds/testing_client.h"

namespace mvm::vmm {
namespace {

using namespace testing_client;

Frame hex(std::string_view text) {
  Frame out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    out.push_back(static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  return out;
}

// A SYN as Linux sends it, to 169.254.169.254:80.
const Frame kSyn =
    hex("060123456701"
        "02fc00000005"
        "0800"
        "4500003c1c46400040061e67ac100002a9fea9fe"
        "c35000500000138800000000a002faf075d60000020405b40402080a0000000100000000"
        "01030307");

TEST(Packet, ReadsAFrameOfLinux) {
  const auto packet = parse_ipv4(kSyn);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->source, kGuestIp);
  EXPECT_EQ(packet->target, kServiceIp);
  const auto segment = parse_tcp(*packet, true);
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->source, 50'000);
  EXPECT_EQ(segment->target, 80);
  EXPECT_EQ(segment->sequence, 5000U);
  EXPECT_EQ(segment->flags, kTcpSyn);
  EXPECT_EQ(segment->mss, 1460);
  EXPECT_EQ(segment->window, 64'240);
  EXPECT_TRUE(segment->data.empty());
}

TEST(Packet, ReadsBackWhatItBuilds) {
  TcpSegment segment;
  segment.source = 80;
  segment.target = 1;
  segment.sequence = 0xfffffff0;
  segment.acknowledged = 7;
  segment.flags = kTcpAck | kTcpPush;
  segment.window = 100;
  segment.data = bytes_of("odd");
  const auto frame = build_tcp({kServiceMac, kGuestMac, kServiceIp, kGuestIp}, segment);
  const Received got = take_apart(frame);
  EXPECT_EQ(got.segment.sequence, 0xfffffff0);
  EXPECT_EQ(got.segment.acknowledged, 7U);
  EXPECT_EQ(got.segment.window, 100);
  EXPECT_EQ(got.data(), "odd");
  EXPECT_EQ(ether_source(frame), kServiceMac);
}

TEST(Packet, LeavesOutThePaddingOfShortFrames) {
  Frame padded = Client{}.segment(kTcpAck);
  padded.resize(60, std::byte{0xff});
  EXPECT_TRUE(take_apart(padded).segment.data.empty());
}

TEST(Packet, RefusesEveryByteOfAnIpHeaderChanged) {
  for (std::size_t i = 14; i < 34; ++i) {
    Frame changed = kSyn;
    changed[i] ^= std::byte{0x10};
    EXPECT_FALSE(parse_ipv4(changed)) << i;
  }
}

TEST(Packet, RefusesEveryByteOfTcpChangedUnlessTheChecksumIsLeftToUs) {
  for (std::size_t i = 34; i < kSyn.size(); ++i) {
    Frame changed = kSyn;
    changed[i] ^= std::byte{1};
    EXPECT_FALSE(parse_tcp(parse_ipv4(changed).value(), true)) << i;
  }
  Frame partial = kSyn;
  partial[50] ^= std::byte{1};
  EXPECT_TRUE(parse_tcp(parse_ipv4(partial).value(), false));
}

TEST(Packet, RefusesEveryLengthThatIsCutOff) {
  for (std::size_t size = 0; size < kSyn.size(); ++size)
    EXPECT_FALSE(parse_ipv4(FrameBytes(kSyn).first(size))) << size;
}

TEST(Packet, RefusesTcpHeadersThatDoNotFit) {
  Ipv4Packet packet = parse_ipv4(kSyn).value();
  const FrameBytes whole = packet.payload;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    packet.payload = whole.first(size);
    EXPECT_FALSE(parse_tcp(packet, false)) << size;
  }
}

TEST(Packet, RefusesOptionsThatDoNotAddUp) {
  const auto with_options = [](std::string_view options) {
    Frame changed = kSyn;
    const FrameBytes bytes = bytes_of(options);
    std::copy(bytes.begin(), bytes.end(), changed.begin() + 54);
    return parse_tcp(parse_ipv4(changed).value(), false).has_value();
  };
  EXPECT_TRUE(with_options(std::string("\x00\xff\xff", 3)));
  EXPECT_TRUE(with_options(std::string(20, '\x01')));
  EXPECT_FALSE(with_options(std::string("\x02\x00", 2)));
  EXPECT_FALSE(with_options("\x02\x01"));
  EXPECT_FALSE(with_options("\x02\x15"));
  EXPECT_FALSE(with_options(std::string(19, '\x01') + "\x02"));
}

TEST(Packet, RefusesFragments) {
  for (const int bits : {0x20, 0x01}) {
    Frame changed = kSyn;
    changed[20] = static_cast<std::byte>(bits);
    // The checksum, so that it is the fragment that is refused.
    const unsigned difference = 0x4000U - static_cast<unsigned>(bits << 8);
    const unsigned sum =
        (static_cast<unsigned>(changed[24]) << 8 | static_cast<unsigned>(changed[25])) + difference;
    const unsigned folded = (sum & 0xffff) + (sum >> 16);
    changed[24] = static_cast<std::byte>(folded >> 8);
    changed[25] = static_cast<std::byte>(folded);
    EXPECT_FALSE(parse_ipv4(changed));
  }
}

TEST(Packet, AnswersAnArpRequest) {
  const auto request = parse_arp_request(arp_request());
  ASSERT_TRUE(request);
  EXPECT_EQ(request->wanted, kServiceIp);
  EXPECT_EQ(build_arp_reply(*request, kServiceMac), hex("02fc00000005"
                                                        "060123456701"
                                                        "0806"
                                                        "0001080006040002"
                                                        "060123456701a9fea9fe"
                                                        "02fc00000005ac100002"));
}

TEST(Packet, TakesNoArpButRequests) {
  Frame reply = arp_request();
  reply[21] = std::byte{2};
  EXPECT_FALSE(parse_arp_request(reply));
  EXPECT_FALSE(parse_arp_request(FrameBytes(arp_request()).first(41)));
}

}  // namespace
}  // namespace mvm::vmm
