// SPDX-License-Identifier: Apache-2.0
#include "netd/serve.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "core/log.h"
#include "netd/frame_stream.h"
#include "netd/user_net.h"
#include "netd_filter_table.h"
#include "sys/io.h"
#include "sys/socket.h"
#include "sys/unique_fd.h"
#include "vmm/jail/seccomp.h"

namespace mvm::netd {
namespace {

constexpr std::string_view kReady = "ready\n";

// Source: capabilities(7). libcap-ng would also clear the bounding set, which no_new_privs makes
// moot.
Result<> keep_capabilities(std::uint32_t kept) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return Error::from_errno("capget");
  data[0] = {data[0].effective & kept, data[0].permitted & kept, 0};
  data[1] = {};
  if (::syscall(SYS_capset, &header, data) != 0) return Error::from_errno("capset");
  return {};
}

// libslirp's sockets are told to wait for less while the VMM does not read: what the host has for
// the guest stays in the kernel. What is then waited for no more must not wake us either.
void pause_sources(std::span<pollfd> fds) {
  for (pollfd& entry : fds) {
    entry.events = static_cast<short>(entry.events & ~(POLLIN | POLLPRI));
    if (entry.events == 0) entry.fd = -1;
  }
}

// One round: wait, take the guest's frames, let libslirp work, write. False when the peer is gone.
Result<bool> turn(FrameChannel& channel, UserNet& net, int peer, std::vector<pollfd>& fds) {
  constexpr short kGone = POLLHUP | POLLERR;
  fds.clear();
  const int events = channel.queued() > 0 ? POLLIN | POLLOUT : POLLIN;
  fds.push_back({channel.fd(), static_cast<short>(events), 0});
  fds.push_back({peer == channel.fd() ? -1 : peer, POLLRDHUP, 0});
  int timeout = -1;
  net.fill(fds, timeout);
  if (channel.congested()) pause_sources(std::span(fds).subspan(2));
  if (::poll(fds.data(), fds.size(), timeout) < 0) {
    if (errno != EINTR) return Error::from_errno("poll");
    for (pollfd& entry : fds) entry.revents = 0;
  }
  if ((fds[1].revents & (POLLRDHUP | kGone)) != 0) return false;
  if ((fds[0].revents & (POLLIN | kGone)) != 0) {
    const bool open =
        MVM_TRY(channel.receive([&](std::span<const std::byte> frame) { net.input(frame); }));
    if (!open) return false;
  }
  net.dispatch(fds);
  const Result<> flushed = channel.flush();
  if (!flushed && flushed.error().errnum() == EPIPE) return false;
  MVM_TRY(Result<>(flushed));
  return true;
}

Result<> report_ready(int fd) {
  if (fd < 0) return {};
  const sys::UniqueFd owned(fd);
  MVM_TRY_CTX(sys::write_full(fd, kReady), "telling that the network is up");
  return {};
}

// Our own descriptors of the namespaces would keep them alive.
Result<> hand_over(int peer, sys::UniqueFd user, sys::UniqueFd network) {
  if (!network) return {};
  std::vector<int> fds;
  if (user) fds.push_back(user.get());
  fds.push_back(network.get());
  MVM_TRY_CTX(sys::send_fds(peer, kReady, fds), "handing over the network namespace");
  return {};
}

}  // namespace

Result<> confine() {
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) return Error::from_errno("setrlimit core");
  if (::setrlimit(RLIMIT_NPROC, &none) != 0) return Error::from_errno("setrlimit nproc");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Error::from_errno("no_new_privs");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return Error::from_errno("dumpable");
  return keep_capabilities(1U << CAP_NET_BIND_SERVICE | 1U << CAP_NET_RAW);
}

Result<> confine_to_serving() {
  MVM_TRY(keep_capabilities(1U << CAP_NET_RAW));
  return vmm::SeccompFilter::for_this_process(kNetdProgram, kNetdOwnProcess).install();
}

Result<> serve(const Options& options, TapLink link) {
  std::unique_ptr<FrameChannel> channel;
  if (link.packets)
    channel = std::make_unique<PacketChannel>(link.packets.get());
  else
    channel = std::make_unique<FrameStream>(options.fd);
  UserNet net = MVM_TRY(UserNet::create(
      options, [&channel](std::span<const std::byte> frame) { channel->send(frame); }));
  MVM_TRY(confine_to_serving());
  MVM_TRY(report_ready(options.ready_fd));
  MVM_TRY(hand_over(options.fd, std::move(link.user_namespace), std::move(link.network_namespace)));
  std::vector<pollfd> fds;
  bool open = true;
  while (open) open = MVM_TRY(turn(*channel, net, options.fd, fds));
  if (channel->dropped() > 0) log::info("frames dropped: " + std::to_string(channel->dropped()));
  return {};
}

}  // namespace mvm::netd
