// SPDX-License-Identifier: Apache-2.0
// For the tests of the metadata service: a guest's side of ARP and TCP, step by step.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/mmds/packet.h"

namespace mvm::vmm::testing_client {

inline constexpr MacBytes kGuestMac = {0x02, 0xfc, 0, 0, 0, 5};
inline constexpr MacBytes kServiceMac = {0x06, 0x01, 0x23, 0x45, 0x67, 0x01};
inline constexpr Ipv4Bytes kGuestIp = {172, 16, 0, 2};
inline constexpr Ipv4Bytes kServiceIp = {169, 254, 169, 254};

using Frame = std::vector<std::byte>;

inline FrameBytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string text_of(FrameBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// "Who has the service's address?"
inline Frame arp_request() {
  Frame out = build_arp_reply({kServiceMac, kServiceIp, kGuestIp}, kGuestMac);
  out[21] = std::byte{1};
  return out;
}

// A frame of the service's, taken apart. The data is kept in the frame.
struct Received {
  Frame frame;
  Ipv4Packet packet;
  TcpSegment segment;
  std::string data() const { return text_of(segment.data); }
};
inline Received take_apart(FrameBytes bytes) {
  Received out{{bytes.begin(), bytes.end()}, {}, {}};
  out.packet = parse_ipv4(out.frame).value();
  out.segment = parse_tcp(out.packet, true).value();
  return out;
}

// One connection, as a guest's kernel keeps it; every segment is sent by the test.
struct Client {
  std::uint16_t port = 40'000;
  std::uint32_t next = 5000;   // our next sequence number
  std::uint32_t expected = 0;  // the service's
  std::uint16_t window = 65'535;

  Frame segment(std::uint8_t flags, std::string_view data = {}) const {
    TcpSegment out;
    out.source = port;
    out.target = 80;
    out.sequence = next;
    out.acknowledged = expected;
    out.flags = flags;
    out.window = window;
    out.data = bytes_of(data);
    if ((flags & kTcpSyn) != 0) out.mss = std::uint16_t{1460};
    return build_tcp({kGuestMac, kServiceMac, kGuestIp, kServiceIp}, out);
  }
  // The same, and counted as sent.
  Frame send(std::uint8_t flags, std::string_view data = {}) {
    const Frame out = segment(flags, data);
    next += static_cast<std::uint32_t>(data.size()) + ((flags & (kTcpSyn | kTcpFin)) != 0 ? 1 : 0);
    return out;
  }
};

}  // namespace mvm::vmm::testing_client
