// SPDX-License-Identifier: Apache-2.0
#include "agent/boot/port.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <optional>

#include "core/units.h"
#include "sys/io.h"

namespace mvm::agent {
namespace {

constexpr const char* kPorts = "/sys/class/virtio-ports";
constexpr const char* kName = "mvm.agent\n";
constexpr Millis kDeadline{10'000};
constexpr std::uint64_t kVsockBuffer = 4 << 20;

// The device node whose port has our name.
std::optional<std::string> find_port() {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(kPorts), ::closedir);
  if (!dir) return std::nullopt;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (entry->d_name[0] == '.') continue;
    const auto name =
        sys::read_file(std::string(kPorts) + "/" + entry->d_name + "/name", kibibytes(4));
    if (name && *name == kName) return std::string("/dev/") + entry->d_name;
  }
  return std::nullopt;
}

// Listens before the first look, so that no event falls between the two.
Result<sys::UniqueFd> listen_for_events() {
  sys::UniqueFd socket(
      ::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
  if (!socket) return Error::from_errno("kernel event socket");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = 1;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return Error::from_errno("kernel event socket");
  return socket;
}

}  // namespace

Result<sys::UniqueFd> open_agent_port() {
  if (const auto path = find_port()) return sys::open_file(*path, O_RDWR);
  const sys::UniqueFd events = MVM_TRY(listen_for_events());
  const Deadline deadline = Deadline::after(kDeadline, "the virtio-serial port mvm.agent");
  for (;;) {
    if (const auto path = find_port()) return sys::open_file(*path, O_RDWR);
    pollfd ready{events.get(), POLLIN, 0};
    ::poll(&ready, 1, deadline.poll_timeout());
    if (deadline.passed()) return deadline.error();
    std::array<std::byte, 4096> event;
    while (sys::read_some(events.get(), event)) {
    }
  }
}

Result<sys::UniqueFd> connect_to_host(std::uint32_t port) {
  sys::UniqueFd socket(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return Error::from_errno("vsock socket");
  // What the host may have under way towards us. Source: vsock(7).
  const std::uint64_t room = kVsockBuffer;
  ::setsockopt(socket.get(), AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &room, sizeof room);
  ::setsockopt(socket.get(), AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &room, sizeof room);
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_HOST;
  address.svm_port = port;
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return Error::from_errno("connect to vsock port " + std::to_string(port) + " of the host");
  return socket;
}

}  // namespace mvm::agent
