// SPDX-License-Identifier: Apache-2.0
#include "netd/tap_link.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

#include "sys/capabilities.h"
#include "sys/io.h"
#include "sys/socket.h"
#include "vmm/jail/namespaces.h"

namespace mvm::netd {
namespace {

constexpr std::size_t kHeader = sizeof(PacketHeader);
// After so many frames the sockets of the host are looked at again.
constexpr int kFramesPerTurn = 64;
constexpr int kSocketBuffer = 4 << 20;

// Whether it took a user namespace.
Result<bool> enter_namespaces() {
  const bool privileged = sys::has_capability(CAP_SYS_ADMIN) && sys::has_capability(CAP_NET_ADMIN);
  if (!privileged)
    MVM_TRY_CTX(vmm::enter_user_namespace(::geteuid(), ::getegid()), "a user namespace");
  MVM_TRY_CTX(vmm::unshare_namespace(CLONE_NEWNET), "a network namespace");
  return !privileged;
}

ifreq request_for(const std::string& name) {
  ifreq out{};
  std::memcpy(out.ifr_name, name.c_str(), std::min(name.size(), sizeof out.ifr_name - 1));
  return out;
}

// It stays when we close it, so that the VMM can open it.
Result<> make_device(const std::string& name, uid_t owner) {
  const sys::UniqueFd tap = MVM_TRY(sys::open_file("/dev/net/tun", O_RDWR));
  ifreq request = request_for(name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) return Error::from_errno("TUNSETIFF");
  if (::ioctl(tap.get(), TUNSETOWNER, owner) != 0) return Error::from_errno("TUNSETOWNER");
  if (::ioctl(tap.get(), TUNSETPERSIST, 1) != 0) return Error::from_errno("TUNSETPERSIST");
  return {};
}

// Opens it up. The namespace's kernel is to be silent on it: it has no address there, and seeks
// none.
Result<int> bring_up(int socket, const std::string& name) {
  const std::string ipv6 = "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6";
  if (::access(ipv6.c_str(), F_OK) == 0) MVM_TRY(sys::write_file(ipv6, "1"));
  ifreq request = request_for(name);
  request.ifr_flags = IFF_UP | IFF_NOARP;
  if (::ioctl(socket, SIOCSIFFLAGS, &request) != 0) return Error::from_errno("SIOCSIFFLAGS");
  if (::ioctl(socket, SIOCGIFINDEX, &request) != 0) return Error::from_errno("SIOCGIFINDEX");
  return request.ifr_ifindex;
}

Result<sys::UniqueFd> open_packets(const std::string& name) {
  // Nothing comes before it is bound, of other devices neither.
  sys::UniqueFd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return Error::from_errno("packet socket");
  const int on = 1;
  // Past the queueing discipline, which a device that has just been opened gets a moment later:
  // until then it would drop frames. The device has a queue of its own.
  for (const int option : {PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING, PACKET_QDISC_BYPASS}) {
    if (::setsockopt(socket.get(), SOL_PACKET, option, &on, sizeof on) != 0)
      return Error::from_errno("packet socket: option " + std::to_string(option));
  }
  // More than the system's limit takes a privilege; it works with less.
  for (const int option : {SO_RCVBUF, SO_RCVBUFFORCE})
    ::setsockopt(socket.get(), SOL_SOCKET, option, &kSocketBuffer, sizeof kSocketBuffer);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = MVM_TRY(bring_up(socket.get(), name));
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return Error::from_errno("bind of the packet socket");
  return socket;
}

Result<std::vector<sys::UniqueFd>> make_in_child(const std::string& name, uid_t owner) {
  const bool in_user_namespace = MVM_TRY(enter_namespaces());
  MVM_TRY_CTX(make_device(name, owner), "tap device " + name);
  std::vector<sys::UniqueFd> out;
  out.push_back(MVM_TRY_CTX(open_packets(name), "tap device " + name));
  out.push_back(MVM_TRY(sys::open_file("/proc/self/ns/net", O_RDONLY)));
  if (in_user_namespace) out.push_back(MVM_TRY(sys::open_file("/proc/self/ns/user", O_RDONLY)));
  return out;
}

[[noreturn]] void child_main(int socket, const std::string& name, uid_t owner) {
  const auto made = make_in_child(name, owner);
  std::vector<int> fds;
  if (made) {
    for (const auto& fd : *made) fds.push_back(fd.get());
  }
  const auto sent = sys::send_fds(socket, made ? "ok" : made.error().text(), fds);
  ::_exit(sent ? 0 : 1);
}

}  // namespace

Result<TapLink> make_tap_link(const std::string& name, uid_t owner) {
  if (name.empty() || name.size() >= IFNAMSIZ || name.find('/') != std::string::npos)
    return Error(Errc::kInvalidArgument, "'" + name + "' cannot be the name of a tap device");
  sys::SocketPair pair = MVM_TRY(sys::make_socket_pair());
  const pid_t child = ::fork();
  if (child < 0) return Error::from_errno("fork");
  if (child == 0) child_main(pair.second.get(), name, owner);
  pair.second.reset();
  auto got = sys::receive_fds(pair.first.get());
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) continue;
  if (!got) return got.error();
  if (got->fds.size() < 2) {
    return Error(Errc::kUnavailable,
                 got->text.empty() ? "the maker of the tap device has died" : got->text)
        .with_hint(
            "it takes root, or user namespaces and a /dev/net/tun that is open to you; without: "
            "--network none, or --backend mvm-vmm");
  }
  TapLink out{std::move(got->fds[0]), {}, std::move(got->fds[1])};
  if (got->fds.size() > 2) out.user_namespace = std::move(got->fds[2]);
  return out;
}

PacketChannel::PacketChannel(int fd) : fd_(fd), buffer_(new std::byte[kHeader + kMaxFrame]) {}

Result<bool> PacketChannel::receive(const Take& take) {
  for (int count = 0; count < kFramesPerTurn; ++count) {
    const ssize_t n = ::recv(fd_, buffer_.get(), kHeader + kMaxFrame, MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    // The device was down for a moment: told once, and over.
    if (n < 0 && errno == ENETDOWN) continue;
    if (n < 0) return Error::from_errno("recv");
    const auto size = static_cast<std::size_t>(n);
    if (size < kHeader + kMinFrame || size > kHeader + kMaxFrame) {
      ++dropped_;
      continue;
    }
    PacketHeader header;
    std::memcpy(&header, buffer_.get(), kHeader);
    const std::span frame(buffer_.get() + kHeader, size - kHeader);
    const bool wanted = (header.flags & PacketHeader::kNeedsChecksum) == 0 ||
                        complete_checksum(frame, header.checksum_start, header.checksum_offset);
    if (wanted)
      take(frame);
    else
      ++dropped_;
  }
  return true;
}

bool PacketChannel::send(std::span<const std::byte> frame) {
  PacketHeader header;
  const std::array<iovec, 2> parts = {
      {{&header, kHeader}, {const_cast<std::byte*>(frame.data()), frame.size()}}};
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  if (::sendmsg(fd_, &message, MSG_DONTWAIT) >= 0) return true;
  ++dropped_;
  return false;
}

bool complete_checksum(std::span<std::byte> frame, std::size_t start, std::size_t offset) {
  if (start > frame.size() || offset + 2 > frame.size() - start) return false;
  const std::span<std::byte> summed = frame.subspan(start);
  const auto byte = [&](std::size_t i) { return std::to_integer<std::uint64_t>(summed[i]); };
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i + 1 < summed.size(); i += 2) sum += byte(i) << 8 | byte(i + 1);
  if (summed.size() % 2 != 0) sum += byte(summed.size() - 1) << 8;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  auto value = static_cast<std::uint16_t>(~sum);
  // In UDP zero would say that there is none; ones mean the same number.
  if (value == 0) value = 0xffff;
  summed[offset] = static_cast<std::byte>(value >> 8);
  summed[offset + 1] = static_cast<std::byte>(value & 0xff);
  return true;
}

}  // namespace mvm::netd
