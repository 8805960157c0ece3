// SPDX-License-Identifier: Apache-2.0
#include "vmm/net/tap_backend.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "sys/io.h"

namespace mvm::vmm {
namespace {

constexpr std::size_t kBufferSize = sizeof(NetHeader) + kMaxFrame;
constexpr std::size_t kMaxSegments = 256;

// Failures that concern one frame, or a device that is down for now.
bool is_refusal(int errnum) {
  return errnum == EINVAL || errnum == EMSGSIZE || errnum == EIO || errnum == ENETDOWN ||
         errnum == ENOMEM || errnum == ENOBUFS || errnum == EPERM;
}

// What the guest can receive; what it may send needs no announcement.
unsigned long tun_flags(std::uint64_t accepted) {
  const auto flag = [accepted](std::uint64_t feature, unsigned tun) {
    return (accepted & feature) != 0 ? tun : 0U;
  };
  return flag(net_feature::kGuestChecksum, TUN_F_CSUM) | flag(net_feature::kGuestTso4, TUN_F_TSO4) |
         flag(net_feature::kGuestTso6, TUN_F_TSO6) | flag(net_feature::kGuestEcn, TUN_F_TSO_ECN) |
         flag(net_feature::kGuestUfo, TUN_F_UFO);
}

// Some kernels have no UDP fragmentation.
std::uint64_t supported_offloads(int fd) {
  if (::ioctl(fd, TUNSETOFFLOAD, tun_flags(net_feature::kOffloads)) == 0)
    return net_feature::kOffloads;
  return net_feature::kOffloads & ~(net_feature::kGuestUfo | net_feature::kHostUfo);
}

}  // namespace

TapBackend::TapBackend(sys::UniqueFd fd)
    : fd_(std::move(fd)),
      offloads_(supported_offloads(fd_.get())),
      buffer_(new std::byte[kBufferSize]) {}

Result<std::unique_ptr<TapBackend>> TapBackend::open(const std::string& name) {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof request.ifr_name || name.find('/') != name.npos)
    return Error(Errc::kInvalidArgument, "'" + name + "' cannot be the name of a tap device");
  sys::UniqueFd fd = MVM_TRY(sys::open_file("/dev/net/tun", O_RDWR | O_NONBLOCK));
  std::memcpy(request.ifr_name, name.c_str(), name.size());
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) return Error::from_errno("tap " + name);
  return configure(std::move(fd), name);
}

Result<std::unique_ptr<TapBackend>> TapBackend::adopt(sys::UniqueFd fd) {
  ifreq request{};
  constexpr int kWanted = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(fd.get(), TUNGETIFF, &request) != 0 || (request.ifr_flags & kWanted) != kWanted)
    return Error(Errc::kInvalidArgument, "descriptor " + std::to_string(fd.get()) +
                                             " is not a tap device with virtio headers");
  MVM_TRY(sys::set_nonblocking(fd.get(), true));
  const std::string name(request.ifr_name, ::strnlen(request.ifr_name, sizeof request.ifr_name));
  return configure(std::move(fd), name);
}

Result<std::unique_ptr<TapBackend>> TapBackend::configure(sys::UniqueFd fd,
                                                          const std::string& name) {
  const int header_size = sizeof(NetHeader);
  if (::ioctl(fd.get(), TUNSETVNETHDRSZ, &header_size) != 0)
    return Error::from_errno("tap " + name + ": header size");
  const int little_endian = 1;
  if (::ioctl(fd.get(), TUNSETVNETLE, &little_endian) != 0)
    return Error::from_errno("tap " + name + ": byte order");
  return std::unique_ptr<TapBackend>(new TapBackend(std::move(fd)));
}

Result<> TapBackend::set_offloads(std::uint64_t accepted) {
  const unsigned long flags = tun_flags(accepted);
  if (::ioctl(fd_.get(), TUNSETOFFLOAD, flags) != 0)
    return Error::from_errno("tap: offloads").with_code(Errc::kUnsupported);
  return {};
}

Result<std::optional<NetFrame>> TapBackend::peek() {
  while (!frame_) {
    const ssize_t n = ::read(fd_.get(), buffer_.get(), kBufferSize);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || is_refusal(errno))) return std::optional<NetFrame>();
    if (n < 0) return Error::from_errno("tap: read");
    const auto size = static_cast<std::size_t>(n);
    if (size < sizeof(NetHeader) + kMinFrame) continue;
    frame_.emplace();
    std::memcpy(&frame_->header, buffer_.get(), sizeof(NetHeader));
    frame_->bytes = {buffer_.get() + sizeof(NetHeader), size - sizeof(NetHeader)};
  }
  return frame_;
}

Result<NetBackend::Sent> TapBackend::send(const NetHeader& header, std::span<const iovec> frame,
                                          std::size_t) {
  // A copy of the header: the guest cannot change it any more. The kernel checks what it says.
  NetHeader copy = header;
  copy.buffers = 0;
  std::array<iovec, kMaxSegments + 1> segments;
  const std::size_t count = std::min(frame.size(), kMaxSegments);
  segments[0] = {&copy, sizeof copy};
  std::copy_n(frame.begin(), count, segments.begin() + 1);
  for (;;) {
    if (::writev(fd_.get(), segments.data(), static_cast<int>(count + 1)) >= 0) return Sent::kYes;
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return Sent::kFull;
    if (is_refusal(errno)) return Sent::kRefused;
    return Error::from_errno("tap: write");
  }
}

}  // namespace mvm::vmm
