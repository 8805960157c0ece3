// SPDX-License-Identifier: Apache-2.0
// The command line of mvm-netd.
//
//   mvm-netd --fd N [--ready-fd N] [--forward tcp|udp:HOSTIP:HOSTPORT:GUESTPORT]...
//            [--mtu BYTES] [--no-dns] [--restrict] [--tap NAME [--tap-owner UID]]
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace mvm::netd {

// A port of the host whose connections go to the guest.
struct Forward {
  bool udp = false;
  std::string host_ip;  // numeric IPv4
  std::uint16_t host_port = 0;
  std::uint16_t guest_port = 0;
  std::string text() const;  // as parse_forward reads it
  bool operator==(const Forward&) const = default;
};

struct Options {
  // Connected unix stream socket, whose other end is the VMM's. With a tap device it is that of
  // whoever starts the VMM and is told the namespaces to start it in: one message "ready\n" with
  // descriptors of the user namespace (only where there is one) and of the network namespace.
  int fd = -1;
  int ready_fd = -1;  // "ready\n" is written here and the descriptor closed; -1: nowhere
  std::vector<Forward> forwards;
  bool dns = true;           // answer at 10.0.2.3 by the host's resolver
  bool restricted = false;   // the guest reaches nothing outside; forwards still work
  std::uint32_t mtu = 1500;  // Units: bytes of an IP packet
  // The guest's frames come by this tap device, made in a network namespace of its own; empty: by
  // `fd`.
  std::string tap;
  std::optional<std::uint32_t> tap_owner;  // who may open it; nothing: ourselves
};

constexpr std::uint32_t kMinMtu = 576;
constexpr std::uint32_t kMaxMtu = 65'520;

// "tcp:127.0.0.1:8080:80". Errors: kInvalidArgument quotes the text.
Result<Forward> parse_forward(std::string_view text);

// `arguments` as main() has them, the program's name first. Errors: kInvalidArgument.
Result<Options> parse_options(std::span<const char* const> arguments);

}  // namespace mvm::netd
