// SPDX-License-Identifier: Apache-2.0
// Ethernet, ARP, IPv4 and TCP as bytes: taken apart with every length and checksum looked at, and
// put together.
//
// Source: RFC 826 (ARP), RFC 791 (IPv4), RFC 9293 (TCP), RFC 1071 (checksum).
// Threads: none.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace mvm::vmm {

using FrameBytes = std::span<const std::byte>;
using MacBytes = std::array<std::uint8_t, 6>;
using Ipv4Bytes = std::array<std::uint8_t, 4>;

constexpr std::uint16_t kEtherIpv4 = 0x0800;
constexpr std::uint16_t kEtherArp = 0x0806;

constexpr std::uint8_t kTcpFin = 1;
constexpr std::uint8_t kTcpSyn = 2;
constexpr std::uint8_t kTcpReset = 4;
constexpr std::uint8_t kTcpPush = 8;
constexpr std::uint8_t kTcpAck = 16;

struct TcpSegment {
  std::uint16_t source = 0;
  std::uint16_t target = 0;
  std::uint32_t sequence = 0;
  std::uint32_t acknowledged = 0;
  std::uint8_t flags = 0;
  std::uint16_t window = 0;
  std::optional<std::uint16_t> mss;  // the option; sent with SYN only
  FrameBytes data;

  bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
  // What it takes of the sequence space.
  std::uint32_t length() const {
    return static_cast<std::uint32_t>(data.size()) + (has(kTcpSyn) ? 1 : 0) +
           (has(kTcpFin) ? 1 : 0);
  }
};

// The EtherType of a frame without a tag; 0 when it is shorter than its header.
std::uint16_t ether_type(FrameBytes frame);
MacBytes ether_source(FrameBytes frame);

struct ArpRequest {
  MacBytes mac;       // of who asks
  Ipv4Bytes address;  // likewise
  Ipv4Bytes wanted;
};
// Nothing when the frame is not a request for an IPv4 address over Ethernet.
std::optional<ArpRequest> parse_arp_request(FrameBytes frame);
std::vector<std::byte> build_arp_reply(const ArpRequest& request, const MacBytes& own);

struct Ipv4Packet {
  Ipv4Bytes source;
  Ipv4Bytes target;
  std::uint8_t protocol = 0;
  FrameBytes payload;
};
// Nothing for wrong lengths or checksum, and for fragments. What follows the packet is left out.
std::optional<Ipv4Packet> parse_ipv4(FrameBytes frame);

// Nothing for wrong lengths or options, and for a wrong checksum if that is to be looked at.
std::optional<TcpSegment> parse_tcp(const Ipv4Packet& packet, bool check_checksum);

struct TcpAddresses {
  MacBytes source_mac;
  MacBytes target_mac;
  Ipv4Bytes source;
  Ipv4Bytes target;
};
// `segment` with at most kMaxTcpData bytes.
constexpr std::size_t kMaxTcpData = 1460;
std::vector<std::byte> build_tcp(const TcpAddresses& addresses, const TcpSegment& segment);

}  // namespace mvm::vmm
