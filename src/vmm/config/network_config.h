// SPDX-License-Identifier: Apache-2.0
// A network interface and its update.
//
// An interface has one host side: a tap device (Firecracker's), or, as mvm's extension, a stream
// socket to a user-mode network process, by path or as a descriptor that the monitor was started
// with.
//
// Source: Firecracker API 1.x, NetworkInterface and PartialNetworkInterface.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "vmm/config/rate_limiter_config.h"

namespace mvm::vmm {

// Not a typedef: it must not be mixed with other bytes.
struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};
  friend bool operator==(const MacAddress&, const MacAddress&) = default;
};

// "06:00:ac:10:00:02", six pairs of hexadecimal digits. Errors: kInvalidArgument.
Result<MacAddress> parse_mac(std::string_view text);
std::string format_mac(const MacAddress& mac);

constexpr std::uint16_t kMinMtu = 68;

struct NetworkConfig {
  std::string iface_id;
  // Exactly one of the three.
  std::optional<std::string> host_dev_name;  // tap device
  std::optional<std::string> socket_path;    // extension: unix stream socket, connected at start
  std::optional<int> socket_fd;              // extension: inherited, connected stream socket
  std::optional<MacAddress> guest_mac;
  std::optional<std::uint16_t> mtu;
  std::optional<RateLimiterConfig> rx_rate_limiter;
  std::optional<RateLimiterConfig> tx_rate_limiter;

  friend bool operator==(const NetworkConfig&, const NetworkConfig&) = default;
};

struct NetworkUpdate {
  std::string iface_id;
  std::optional<RateLimiterConfig> rx_rate_limiter;
  std::optional<RateLimiterConfig> tx_rate_limiter;

  friend bool operator==(const NetworkUpdate&, const NetworkUpdate&) = default;
};

// Errors: kInvalidArgument: id, host side, device name longer than IFNAMSIZ, group MAC, MTU below
// 68, rate limiters.
Result<> validate(const NetworkConfig& config);
Result<> validate(const NetworkUpdate& update);

// Adds an interface, or replaces the one of the same id in its place.
// Errors: kInvalidArgument when another interface has this MAC address.
Result<> insert_network(std::vector<NetworkConfig>& interfaces, NetworkConfig interface);

}  // namespace mvm::vmm
