// SPDX-License-Identifier: Apache-2.0
#include "netd/user_net.h"

#include <arpa/inet.h>
#include <slirp/libslirp.h>

#include <limits>
#include <string>

#include "core/log.h"
#include "core/units.h"

namespace mvm::netd {

struct UserNet::Impl {
  Slirp* slirp = nullptr;
  Send send;
  bool told_guest_error = false;
  std::vector<pollfd>* filling = nullptr;  // only while slirp_pollfds_fill runs
  std::span<const pollfd> polled;          // only while slirp_pollfds_poll runs

  ~Impl() {
    if (slirp != nullptr) slirp_cleanup(slirp);
  }
};

namespace {

using std::numeric_limits;

in_addr address(const char* text) {
  in_addr out{};
  ::inet_pton(AF_INET, text, &out);
  return out;
}

short to_poll(int slirp_events) {
  int out = 0;
  if ((slirp_events & SLIRP_POLL_IN) != 0) out |= POLLIN;
  if ((slirp_events & SLIRP_POLL_OUT) != 0) out |= POLLOUT;
  if ((slirp_events & SLIRP_POLL_PRI) != 0) out |= POLLPRI;
  return static_cast<short>(out);
}

int to_slirp(short poll_events) {
  int out = 0;
  if ((poll_events & POLLIN) != 0) out |= SLIRP_POLL_IN;
  if ((poll_events & POLLOUT) != 0) out |= SLIRP_POLL_OUT;
  if ((poll_events & POLLPRI) != 0) out |= SLIRP_POLL_PRI;
  if ((poll_events & POLLERR) != 0) out |= SLIRP_POLL_ERR;
  if ((poll_events & POLLHUP) != 0) out |= SLIRP_POLL_HUP;
  return out;
}

std::int64_t now_ns(void*) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
      .count();
}

SlirpConfig configuration(const Options& options) {
  SlirpConfig out{};
  out.version = 3;
  out.restricted = options.restricted ? 1 : 0;
  out.in_enabled = true;
  out.vnetwork = address("10.0.2.0");
  out.vnetmask = address("255.255.255.0");
  out.vhost = address("10.0.2.2");
  out.vdhcp_start = address("10.0.2.15");
  out.vnameserver = address("10.0.2.3");
  out.if_mtu = options.mtu;
  out.if_mru = options.mtu;
  out.disable_dns = !options.dns;
  return out;
}

Result<> add_forward(Slirp* slirp, const Forward& forward) {
  errno = 0;
  if (slirp_add_hostfwd(slirp, forward.udp ? 1 : 0, address(forward.host_ip.c_str()),
                        forward.host_port, address("10.0.2.15"), forward.guest_port) != 0)
    return Error::from_errno("forward " + forward.text());
  return {};
}

}  // namespace

UserNet::UserNet(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UserNet::UserNet(UserNet&&) noexcept = default;
UserNet::~UserNet() = default;

Result<UserNet> UserNet::create(const Options& options, Send send) {
  auto impl = std::make_unique<Impl>();
  impl->send = std::move(send);
  // Kept by libslirp as a pointer. Timers are wanted for IPv6 router advertisements only.
  static constexpr SlirpCb kCallbacks = {
      .send_packet = [](const void* bytes, std::size_t size, void* opaque) -> ssize_t {
        static_cast<Impl*>(opaque)->send({static_cast<const std::byte*>(bytes), size});
        return static_cast<ssize_t>(size);
      },
      .guest_error =
          [](const char* text, void* opaque) {
            auto* self = static_cast<Impl*>(opaque);
            if (!std::exchange(self->told_guest_error, true))
              log::warn(std::string("the guest's network: ") + text + " (told once)");
          },
      .clock_get_ns = now_ns,
      .timer_new = nullptr,
      .timer_free = nullptr,
      .timer_mod = nullptr,
      .register_poll_fd = [](int, void*) {},
      .unregister_poll_fd = [](int, void*) {},
      .notify = [](void*) {},
      .init_completed = nullptr,
      .timer_new_opaque = nullptr,
  };
  const SlirpConfig config = configuration(options);
  impl->slirp = slirp_new(&config, &kCallbacks, impl.get());
  if (impl->slirp == nullptr) return Error(Errc::kUnavailable, "libslirp refuses to start");
  for (const Forward& forward : options.forwards) MVM_TRY(add_forward(impl->slirp, forward));
  return UserNet(std::move(impl));
}

void UserNet::input(std::span<const std::byte> frame) {
  slirp_input(impl_->slirp, reinterpret_cast<const std::uint8_t*>(frame.data()),
              static_cast<int>(frame.size()));
}

void UserNet::fill(std::vector<pollfd>& fds, int& timeout) {
  constexpr auto kForever = numeric_limits<std::uint32_t>::max();
  std::uint32_t wait = timeout < 0 ? kForever : static_cast<std::uint32_t>(timeout);
  impl_->filling = &fds;
  slirp_pollfds_fill(
      impl_->slirp, &wait,
      [](int fd, int events, void* opaque) {
        std::vector<pollfd>& out = *static_cast<Impl*>(opaque)->filling;
        out.push_back({fd, to_poll(events), 0});
        return static_cast<int>(out.size() - 1);
      },
      impl_.get());
  impl_->filling = nullptr;
  constexpr std::uint32_t kMost = numeric_limits<int>::max();
  timeout = wait == kForever ? -1 : static_cast<int>(std::min(wait, kMost));
}

void UserNet::dispatch(std::span<const pollfd> fds) {
  impl_->polled = fds;
  slirp_pollfds_poll(
      impl_->slirp, 0,
      [](int index, void* opaque) {
        const auto& polled = static_cast<Impl*>(opaque)->polled;
        const auto at = static_cast<std::size_t>(index);
        return index >= 0 && at < polled.size() ? to_slirp(polled[at].revents) : 0;
      },
      impl_.get());
  impl_->polled = {};
}

}  // namespace mvm::netd
