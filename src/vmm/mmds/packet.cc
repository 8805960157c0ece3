// SPDX-License-Identifier: Apache-2.0
#include "vmm/mmds/packet.h"

#include <algorithm>
#include <cstring>

namespace mvm::vmm {
namespace {

constexpr std::size_t kEtherHeader = 14;
constexpr std::size_t kArpSize = 28;
constexpr std::size_t kIpHeader = 20;
constexpr std::size_t kTcpHeader = 20;
constexpr std::uint8_t kProtocolTcp = 6;
constexpr std::uint8_t kTimeToLive = 1;  // the guest is next door

std::uint16_t at16(FrameBytes from, std::size_t at) {
  return static_cast<std::uint16_t>(static_cast<unsigned>(from[at]) << 8 |
                                    static_cast<unsigned>(from[at + 1]));
}

std::uint32_t at32(FrameBytes from, std::size_t at) {
  return std::uint32_t{at16(from, at)} << 16 | at16(from, at + 2);
}

template <std::size_t N>
std::array<std::uint8_t, N> copy_at(FrameBytes from, std::size_t at) {
  std::array<std::uint8_t, N> out;
  std::memcpy(out.data(), from.data() + at, N);
  return out;
}

// Appends fields in network order.
class Builder {
 public:
  explicit Builder(std::size_t reserve) { out_.reserve(reserve); }
  Builder& u8(unsigned value) {
    out_.push_back(static_cast<std::byte>(value));
    return *this;
  }
  Builder& u16(unsigned value) { return u8(value >> 8 & 0xff).u8(value & 0xff); }
  Builder& u32(std::uint32_t value) { return u16(value >> 16).u16(value & 0xffff); }
  Builder& bytes(std::span<const std::uint8_t> value) { return raw(std::as_bytes(value)); }
  Builder& raw(FrameBytes value) {
    out_.insert(out_.end(), value.begin(), value.end());
    return *this;
  }
  void put16(std::size_t at, unsigned value) {
    out_[at] = static_cast<std::byte>(value >> 8);
    out_[at + 1] = static_cast<std::byte>(value);
  }
  std::size_t size() const { return out_.size(); }
  FrameBytes from(std::size_t at) const { return FrameBytes(out_).subspan(at); }
  std::vector<std::byte> take() { return std::move(out_); }

 private:
  std::vector<std::byte> out_;
};

std::uint64_t sum16(FrameBytes data) {
  std::uint64_t sum = 0;
  std::size_t i = 0;
  for (; i + 1 < data.size(); i += 2) sum += at16(data, i);
  if (i < data.size()) sum += static_cast<std::uint64_t>(data[i]) << 8;
  return sum;
}

std::uint16_t fold(std::uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum & 0xffff);
}

std::uint64_t pseudo_header(const Ipv4Bytes& source, const Ipv4Bytes& target, std::size_t length) {
  return sum16(std::as_bytes(std::span(source))) + sum16(std::as_bytes(std::span(target))) +
         kProtocolTcp + length;
}

// False when the options do not add up.
bool read_options(FrameBytes options, TcpSegment& segment) {
  constexpr unsigned kEnd = 0;
  constexpr unsigned kNothing = 1;
  constexpr unsigned kMss = 2;
  while (!options.empty()) {
    const auto kind = static_cast<unsigned>(options[0]);
    if (kind == kEnd) return true;
    std::size_t length = 1;
    if (kind != kNothing) {
      if (options.size() < 2) return false;
      length = static_cast<std::size_t>(options[1]);
      if (length < 2 || length > options.size()) return false;
      if (kind == kMss && length == 4) segment.mss = at16(options, 2);
    }
    options = options.subspan(length);
  }
  return true;
}

}  // namespace

std::uint16_t ether_type(FrameBytes frame) {
  return frame.size() < kEtherHeader ? std::uint16_t{0} : at16(frame, 12);
}

MacBytes ether_source(FrameBytes frame) { return copy_at<6>(frame, 6); }

std::optional<ArpRequest> parse_arp_request(FrameBytes frame) {
  if (frame.size() < kEtherHeader + kArpSize || ether_type(frame) != kEtherArp) return std::nullopt;
  const FrameBytes arp = frame.subspan(kEtherHeader);
  constexpr std::uint64_t kEthernetIpv4Request = 0x0001'0800'0604'0001;
  if ((std::uint64_t{at32(arp, 0)} << 32 | at32(arp, 4)) != kEthernetIpv4Request)
    return std::nullopt;
  return ArpRequest{copy_at<6>(arp, 8), copy_at<4>(arp, 14), copy_at<4>(arp, 24)};
}

std::vector<std::byte> build_arp_reply(const ArpRequest& request, const MacBytes& own) {
  Builder out(kEtherHeader + kArpSize);
  out.bytes(request.mac).bytes(own).u16(kEtherArp);
  out.u16(1).u16(kEtherIpv4).u8(6).u8(4).u16(2);
  out.bytes(own).bytes(request.wanted).bytes(request.mac).bytes(request.address);
  return out.take();
}

std::optional<Ipv4Packet> parse_ipv4(FrameBytes frame) {
  if (frame.size() < kEtherHeader + kIpHeader || ether_type(frame) != kEtherIpv4)
    return std::nullopt;
  const FrameBytes ip = frame.subspan(kEtherHeader);
  const auto first = static_cast<unsigned>(ip[0]);
  const std::size_t header = std::size_t{first & 0xf} * 4;
  const std::size_t total = at16(ip, 2);
  if (first >> 4 != 4 || header < kIpHeader || total < header || total > ip.size())
    return std::nullopt;
  constexpr unsigned kMoreFragmentsOrOffset = 0x3fff;
  if ((at16(ip, 6) & kMoreFragmentsOrOffset) != 0) return std::nullopt;
  if (fold(sum16(ip.first(header))) != 0) return std::nullopt;
  return Ipv4Packet{copy_at<4>(ip, 12), copy_at<4>(ip, 16), static_cast<std::uint8_t>(ip[9]),
                    ip.subspan(header, total - header)};
}

std::optional<TcpSegment> parse_tcp(const Ipv4Packet& packet, bool check_checksum) {
  const FrameBytes tcp = packet.payload;
  if (packet.protocol != kProtocolTcp || tcp.size() < kTcpHeader) return std::nullopt;
  const std::size_t header = (static_cast<std::size_t>(tcp[12]) >> 4) * 4;
  if (header < kTcpHeader || header > tcp.size()) return std::nullopt;
  if (check_checksum &&
      fold(pseudo_header(packet.source, packet.target, tcp.size()) + sum16(tcp)) != 0)
    return std::nullopt;
  TcpSegment out;
  out.source = at16(tcp, 0);
  out.target = at16(tcp, 2);
  out.sequence = at32(tcp, 4);
  out.acknowledged = at32(tcp, 8);
  out.flags = static_cast<std::uint8_t>(tcp[13]);
  out.window = at16(tcp, 14);
  out.data = tcp.subspan(header);
  if (!read_options(tcp.subspan(kTcpHeader, header - kTcpHeader), out)) return std::nullopt;
  return out;
}

std::vector<std::byte> build_tcp(const TcpAddresses& addresses, const TcpSegment& segment) {
  const std::size_t header = kTcpHeader + (segment.mss ? 4 : 0);
  const std::size_t data = std::min(segment.data.size(), kMaxTcpData);
  Builder out(kEtherHeader + kIpHeader + header + data);
  out.bytes(addresses.target_mac).bytes(addresses.source_mac).u16(kEtherIpv4);
  constexpr unsigned kDontFragment = 0x4000;
  out.u8(0x45).u8(0).u16(static_cast<unsigned>(kIpHeader + header + data));
  out.u16(0).u16(kDontFragment).u8(kTimeToLive).u8(kProtocolTcp).u16(0);
  out.bytes(addresses.source).bytes(addresses.target);
  out.put16(kEtherHeader + 10, fold(sum16(out.from(kEtherHeader))));
  constexpr std::size_t kTcpAt = kEtherHeader + kIpHeader;
  out.u16(segment.source).u16(segment.target).u32(segment.sequence).u32(segment.acknowledged);
  out.u8(static_cast<unsigned>(header / 4) << 4).u8(segment.flags).u16(segment.window);
  out.u16(0).u16(0);
  if (segment.mss) out.u8(2).u8(4).u16(*segment.mss);
  out.raw(segment.data.first(data));
  const FrameBytes tcp = out.from(kTcpAt);
  const std::uint64_t sum = pseudo_header(addresses.source, addresses.target, tcp.size());
  out.put16(kTcpAt + 16, fold(sum + sum16(tcp)));
  return out.take();
}

}  // namespace mvm::vmm
