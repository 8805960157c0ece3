// SPDX-License-Identifier: Apache-2.0
#include "vmm/config/mmds_config.h"

#include <algorithm>
#include <charconv>

#include "vmm/config/vm_config.h"

namespace mvm::vmm {
namespace {

// Of 169.254.0.0/16 the first and the last 256 addresses are reserved (RFC 3927, 2.1).
bool is_link_local(const Ipv4Address& address) {
  return address.bytes[0] == 169 && address.bytes[1] == 254 && address.bytes[2] != 0 &&
         address.bytes[2] != 255;
}

}  // namespace

Result<Ipv4Address> parse_ipv4(std::string_view text) {
  const Error invalid(Errc::kInvalidArgument, "invalid IPv4 address '" + std::string(text) + "'");
  Ipv4Address address;
  for (std::size_t i = 0; i < address.bytes.size(); ++i) {
    const bool last = i + 1 == address.bytes.size();
    const std::size_t length = last ? text.size() : text.find('.');
    if (length == std::string_view::npos || length == 0 || length > 3) return invalid;
    const std::string_view part = text.substr(0, length);
    const auto [end, code] =
        std::from_chars(part.data(), part.data() + part.size(), address.bytes[i]);
    if (code != std::errc() || end != part.data() + part.size()) return invalid;
    if (part.size() > 1 && part[0] == '0') return invalid;
    text.remove_prefix(last ? length : length + 1);
  }
  return address;
}

std::string format_ipv4(const Ipv4Address& address) {
  std::string out;
  for (const std::uint8_t byte : address.bytes) {
    if (!out.empty()) out.push_back('.');
    out += std::to_string(byte);
  }
  return out;
}

Result<> validate(const MmdsConfig& config) {
  if (config.network_interfaces.empty())
    return Error(Errc::kInvalidArgument,
                 "The list of network interface IDs that the MMDS answers on is empty.");
  for (const std::string& id : config.network_interfaces) MVM_TRY(validate_id(id));
  if (!is_link_local(config.address()))
    return Error(Errc::kInvalidArgument,
                 "The MMDS IPv4 address is not link local: " + format_ipv4(config.address()) + ".");
  return {};
}

Result<> validate(const MmdsConfig& config, const std::vector<NetworkConfig>& interfaces) {
  for (const std::string& id : config.network_interfaces) {
    const bool known =
        std::any_of(interfaces.begin(), interfaces.end(),
                    [&id](const NetworkConfig& other) { return other.iface_id == id; });
    if (!known)
      return Error(Errc::kInvalidArgument,
                   "The MMDS configuration names an unknown network interface: '" + id + "'.");
  }
  return {};
}

}  // namespace mvm::vmm
