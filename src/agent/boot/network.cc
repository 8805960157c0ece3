// SPDX-License-Identifier: Apache-2.0
#include "agent/boot/network.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <net/route.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "sys/unique_fd.h"

// The ioctls of netdevice(7): three calls where rtnetlink would need a message builder.
namespace mvm::agent {
namespace {

constexpr std::uint8_t kMaxPrefix = 32;

Result<sys::UniqueFd> control_socket() {
  sys::UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno("network control socket");
  return fd;
}

ifreq request_for(const char* name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  return request;
}

Result<> bring_up(int fd, const char* name) {
  ifreq request = request_for(name);
  if (::ioctl(fd, SIOCGIFFLAGS, &request) != 0) return Error::from_errno(name);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(fd, SIOCSIFFLAGS, &request) != 0)
    return Error::from_errno(std::string(name) + ": bring up");
  return {};
}

Result<sockaddr_in> parse(const std::string& text) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (::inet_pton(AF_INET, text.c_str(), &address.sin_addr) == 1) return address;
  return Error(Errc::kInvalidArgument, "'" + text + "' is not an IPv4 address");
}

// The old interfaces take every address in a field of the generic type.
template <class Field>
void store(Field& field, const sockaddr_in& address) {
  static_assert(sizeof field == sizeof address);
  std::memcpy(&field, &address, sizeof address);
}

Result<> set_address(int fd, unsigned long command, const sockaddr_in& address, const char* what) {
  ifreq request = request_for("eth0");
  store(request.ifr_addr, address);
  if (::ioctl(fd, command, &request) != 0)
    return Error::from_errno(std::string("eth0: set ") + what);
  return {};
}

}  // namespace

Result<> loopback_up() {
  const sys::UniqueFd fd = MVM_TRY(control_socket());
  return bring_up(fd.get(), "lo");
}

Result<> configure_ethernet(const wire::NetworkConfig& network) {
  const sys::UniqueFd fd = MVM_TRY(control_socket());
  const sockaddr_in address = MVM_TRY(parse(network.address));
  if (network.prefix > kMaxPrefix)
    return Error(Errc::kInvalidArgument, "network prefix is over 32");
  sockaddr_in mask{};
  mask.sin_family = AF_INET;
  mask.sin_addr.s_addr = htonl(network.prefix == 0 ? 0 : ~0U << (kMaxPrefix - network.prefix));
  MVM_TRY(set_address(fd.get(), SIOCSIFADDR, address, "address"));
  MVM_TRY(set_address(fd.get(), SIOCSIFNETMASK, mask, "network mask"));
  MVM_TRY(bring_up(fd.get(), "eth0"));
  if (network.gateway.empty()) return {};
  rtentry route{};
  store(route.rt_gateway, MVM_TRY(parse(network.gateway)));
  sockaddr_in any{};
  any.sin_family = AF_INET;
  store(route.rt_dst, any);
  store(route.rt_genmask, any);
  route.rt_flags = RTF_UP | RTF_GATEWAY;
  // A guest that is configured once more, after a restore, may have it still.
  if (::ioctl(fd.get(), SIOCADDRT, &route) != 0 && errno != EEXIST)
    return Error::from_errno("eth0: default route by " + network.gateway);
  return {};
}

}  // namespace mvm::agent
