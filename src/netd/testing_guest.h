// SPDX-License-Identifier: Apache-2.0
// For the tests of netd/: a guest that has a socket for a network card, and frames made by hand.
#pragma once

#include <arpa/inet.h>
#include <poll.h>

#include <cstring>
#include <functional>
#include <optional>
#include <vector>

#include "netd/frame_stream.h"
#include "sys/socket.h"

namespace mvm::netd::testing {

using Bytes = std::vector<std::byte>;

inline Bytes bytes_of(std::initializer_list<int> values) {
  Bytes out;
  for (const int value : values) out.push_back(static_cast<std::byte>(value));
  return out;
}

inline void append(Bytes& to, const Bytes& from) { to.insert(to.end(), from.begin(), from.end()); }
inline void append16(Bytes& to, unsigned value) {
  to.push_back(static_cast<std::byte>(value >> 8));
  to.push_back(static_cast<std::byte>(value));
}
inline void append32(Bytes& to, std::uint32_t value) {
  append16(to, value >> 16);
  append16(to, value & 0xffff);
}
inline unsigned at16(const Bytes& from, std::size_t at) {
  return static_cast<unsigned>(from[at]) << 8 | static_cast<unsigned>(from[at + 1]);
}
inline std::uint32_t at32(const Bytes& from, std::size_t at) {
  return at16(from, at) << 16 | at16(from, at + 2);
}

inline constexpr std::uint32_t kGuestIp = 0x0a00020f;   // 10.0.2.15
inline constexpr std::uint32_t kRouterIp = 0x0a000202;  // 10.0.2.2
inline const Bytes kGuestMac = bytes_of({0x52, 0x54, 0, 0x12, 0x34, 0x56});

// The one's complement sum of RFC 1071.
inline unsigned checksum(const Bytes& data) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < data.size(); i += 2)
    sum += i + 1 < data.size() ? at16(data, i) : static_cast<unsigned>(data[i]) << 8;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
inline void put16(Bytes& to, std::size_t at, unsigned value) {
  to[at] = static_cast<std::byte>(value >> 8);
  to[at + 1] = static_cast<std::byte>(value);
}

inline Bytes ethernet(unsigned type, const Bytes& payload) {
  Bytes out = bytes_of({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  append(out, kGuestMac);
  append16(out, type);
  append(out, payload);
  return out;
}

// Operation 1 asks, 2 answers.
inline Bytes arp(unsigned operation, std::uint32_t target) {
  Bytes out = bytes_of({0, 1, 8, 0, 6, 4});
  append16(out, operation);
  append(out, kGuestMac);
  append32(out, kGuestIp);
  append(out, bytes_of({0, 0, 0, 0, 0, 0}));
  append32(out, target);
  return ethernet(0x0806, out);
}

inline Bytes ipv4(int protocol, std::uint32_t source, std::uint32_t target, const Bytes& payload) {
  Bytes out = bytes_of({0x45, 0});
  append16(out, static_cast<unsigned>(20 + payload.size()));
  append(out, bytes_of({0, 1, 0, 0, 64, protocol, 0, 0}));
  append32(out, source);
  append32(out, target);
  put16(out, 10, checksum(out));
  append(out, payload);
  return ethernet(0x0800, out);
}

struct Segment {
  std::uint16_t source = 0;
  std::uint16_t target = 0;
  std::uint32_t sequence = 0;
  std::uint32_t acknowledged = 0;
  int flags = 0;  // 1 FIN, 2 SYN, 4 RST, 8 PSH, 16 ACK
  Bytes data;
};

inline Bytes tcp(std::uint32_t target, const Segment& segment) {
  Bytes out;
  append16(out, segment.source);
  append16(out, segment.target);
  append32(out, segment.sequence);
  append32(out, segment.acknowledged);
  append(out, bytes_of({0x50, segment.flags, 0xff, 0xff, 0, 0, 0, 0}));
  append(out, segment.data);
  Bytes pseudo;
  append32(pseudo, kGuestIp);
  append32(pseudo, target);
  append16(pseudo, 6);
  append16(pseudo, static_cast<unsigned>(out.size()));
  append(pseudo, out);
  put16(out, 16, checksum(pseudo));
  return ipv4(6, kGuestIp, target, out);
}

inline bool is_tcp(const Bytes& frame) {
  return frame.size() >= 54 && at16(frame, 12) == 0x0800 && frame[23] == std::byte{6};
}
inline bool is_udp(const Bytes& frame) {
  return frame.size() >= 42 && at16(frame, 12) == 0x0800 && frame[23] == std::byte{17};
}
inline bool is_arp(const Bytes& frame, unsigned operation) {
  return frame.size() >= 42 && at16(frame, 12) == 0x0806 && at16(frame, 20) == operation;
}
inline int tcp_flags(const Bytes& frame) { return static_cast<int>(frame[47]); }
inline std::uint32_t tcp_sequence(const Bytes& frame) { return at32(frame, 38); }

// The other end of mvm-netd's descriptor. It answers ARP as a kernel would.
class Guest {
 public:
  explicit Guest(sys::UniqueFd fd) : fd_(std::move(fd)), stream_(fd_.get()) {}

  int fd() const { return fd_.get(); }
  void send(const Bytes& frame) {
    stream_.send(frame);
    (void)stream_.flush().has_value();
  }
  // The first frame that is wanted; the others are kept in seen(). Nothing when the stream ends or
  // for five seconds nothing comes.
  std::optional<Bytes> await(const std::function<bool(const Bytes&)>& wanted) {
    std::optional<Bytes> found;
    while (!found) {
      pollfd entry{fd_.get(), POLLIN, 0};
      if (::poll(&entry, 1, 5000) != 1) return std::nullopt;
      const auto open = stream_.receive([&](std::span<const std::byte> raw) {
        const Bytes frame(raw.begin(), raw.end());
        if (is_arp(frame, 1)) send(arp(2, at32(frame, 28)));
        if (!found && wanted(frame)) found = frame;
        seen_.push_back(frame);
      });
      if (!open.value_or(false)) break;
    }
    return found;
  }
  const std::vector<Bytes>& seen() const { return seen_; }
  void close() { fd_.reset(); }

 private:
  sys::UniqueFd fd_;
  FrameStream stream_;
  std::vector<Bytes> seen_;
};

}  // namespace mvm::netd::testing
