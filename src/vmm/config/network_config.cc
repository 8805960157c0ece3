// SPDX-License-Identifier: Apache-2.0
#include "vmm/config/network_config.h"

#include <algorithm>

#include "vmm/config/text_checks.h"
#include "vmm/config/vm_config.h"

namespace mvm::vmm {
namespace {

constexpr std::size_t kMaxDeviceName = 15;  // IFNAMSIZ with its final NUL
constexpr std::size_t kMacText = 17;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<> check_device_name(std::string_view name) {
  const bool plain =
      std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~' && c != '/'; });
  if (!name.empty() && name.size() <= kMaxDeviceName && plain && name != "." && name != "..")
    return {};
  return Error(Errc::kInvalidArgument,
               "The host_dev_name '" + std::string(name) + "' is not a network device's name.");
}

Result<> check_host_side(const NetworkConfig& config) {
  const int sides = static_cast<int>(config.host_dev_name.has_value()) +
                    static_cast<int>(config.socket_path.has_value()) +
                    static_cast<int>(config.socket_fd.has_value());
  if (sides != 1)
    return Error(Errc::kInvalidArgument,
                 "The interface '" + config.iface_id +
                     "' needs exactly one of host_dev_name, socket_path and socket_fd.");
  if (config.host_dev_name) return check_device_name(*config.host_dev_name);
  if (config.socket_path) return check_path("socket_path", *config.socket_path);
  // 0 to 2 are the monitor's own.
  if (*config.socket_fd > 2) return {};
  return Error(Errc::kInvalidArgument,
               "The socket_fd of interface '" + config.iface_id + "' must be above 2.");
}

}  // namespace

Result<MacAddress> parse_mac(std::string_view text) {
  const Error invalid(Errc::kInvalidArgument, "invalid MAC address '" + std::string(text) + "'");
  if (text.size() != kMacText) return invalid;
  MacAddress mac;
  for (std::size_t i = 0; i < mac.bytes.size(); ++i) {
    const int high = hex_digit(text[3 * i]);
    const int low = hex_digit(text[3 * i + 1]);
    const bool last = i + 1 == mac.bytes.size();
    if (high < 0 || low < 0 || (!last && text[3 * i + 2] != ':')) return invalid;
    mac.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return mac;
}

std::string format_mac(const MacAddress& mac) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t byte : mac.bytes) {
    if (!out.empty()) out.push_back(':');
    out.push_back(kHex[byte >> 4]);
    out.push_back(kHex[byte & 15]);
  }
  return out;
}

Result<> validate(const NetworkConfig& config) {
  MVM_TRY(validate_id(config.iface_id));
  MVM_TRY(check_host_side(config));
  if (config.guest_mac && (config.guest_mac->bytes[0] & 1) != 0)
    return Error(Errc::kInvalidArgument,
                 "The guest_mac " + format_mac(*config.guest_mac) + " is a group address.");
  if (config.mtu && *config.mtu < kMinMtu)
    return Error(Errc::kInvalidArgument,
                 "The mtu must be at least " + std::to_string(kMinMtu) + ".");
  if (config.rx_rate_limiter) MVM_TRY(validate(*config.rx_rate_limiter, "rx_rate_limiter"));
  if (config.tx_rate_limiter) MVM_TRY(validate(*config.tx_rate_limiter, "tx_rate_limiter"));
  return {};
}

Result<> validate(const NetworkUpdate& update) {
  MVM_TRY(validate_id(update.iface_id));
  if (update.rx_rate_limiter) MVM_TRY(validate(*update.rx_rate_limiter, "rx_rate_limiter"));
  if (update.tx_rate_limiter) MVM_TRY(validate(*update.tx_rate_limiter, "tx_rate_limiter"));
  return {};
}

Result<> insert_network(std::vector<NetworkConfig>& interfaces, NetworkConfig interface) {
  for (const NetworkConfig& other : interfaces) {
    if (interface.guest_mac && other.guest_mac == interface.guest_mac &&
        other.iface_id != interface.iface_id)
      return Error(Errc::kInvalidArgument,
                   "The MAC address is already in use: " + format_mac(*interface.guest_mac) + ".");
  }
  for (NetworkConfig& other : interfaces) {
    if (other.iface_id != interface.iface_id) continue;
    other = std::move(interface);
    return {};
  }
  interfaces.push_back(std::move(interface));
  return {};
}

}  // namespace mvm::vmm
