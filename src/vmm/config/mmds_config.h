// SPDX-License-Identifier: Apache-2.0
// The metadata service: version, address and interfaces that it answers on.
//
// Source: Firecracker API 1.x, MmdsConfig.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "vmm/config/network_config.h"

namespace mvm::vmm {

enum class MmdsVersion { kV1, kV2 };

// In network order: {169, 254, 169, 254}.
struct Ipv4Address {
  std::array<std::uint8_t, 4> bytes{};
  friend bool operator==(const Ipv4Address&, const Ipv4Address&) = default;
};

constexpr Ipv4Address kDefaultMmdsAddress{{169, 254, 169, 254}};

// Dotted decimal, no leading zeros. Errors: kInvalidArgument.
Result<Ipv4Address> parse_ipv4(std::string_view text);
std::string format_ipv4(const Ipv4Address& address);

struct MmdsConfig {
  MmdsVersion version = MmdsVersion::kV1;
  std::vector<std::string> network_interfaces;  // ids
  std::optional<Ipv4Address> ipv4_address;      // nothing: kDefaultMmdsAddress
  bool imds_compat = false;                     // text/plain whatever the client accepts

  Ipv4Address address() const { return ipv4_address.value_or(kDefaultMmdsAddress); }
  friend bool operator==(const MmdsConfig&, const MmdsConfig&) = default;
};

// Errors: kInvalidArgument: no interface; an address that is not link-local (169.254.1.0 to
// 169.254.254.255).
Result<> validate(const MmdsConfig& config);

// Errors: kInvalidArgument when an interface of the service is not among the machine's.
Result<> validate(const MmdsConfig& config, const std::vector<NetworkConfig>& interfaces);

}  // namespace mvm::vmm
