// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "agent/services/manager.h"
#include "agent/services/services.h"
#include "sys/io.h"
#include "sys/signals.h"

namespace mvm::agent::services {
namespace {

// Begins with a zero byte: no path in any file system of the guest's.
constexpr std::string_view kSocketName{"\0mvm-services", 13};
constexpr int kBacklog = 16;

struct Address {
  sockaddr_un un{};
  socklen_t length = 0;
};

// One for each agent: tests run several on one kernel.
Address address() {
  Address out;
  out.un.sun_family = AF_UNIX;
  const std::string name = std::string(kSocketName) + "." + std::to_string(::getppid());
  std::memcpy(out.un.sun_path, name.data(), name.size());
  out.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  return out;
}

sys::UniqueFd stream_socket(int flags) {
  return sys::UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
}

bool is_trusted(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
         (peer.uid == 0 || peer.uid == ::geteuid());
}

// Joins the services that run: passes on what they say, and our SIGTERM to them.
Result<> join(int socket) {
  sys::EventLoop loop = MVM_TRY(sys::EventLoop::create());
  const sys::UniqueFd signals = MVM_TRY(sys::signal_fd({SIGTERM}));
  MVM_TRY(loop.add(signals.get(), EPOLLIN, [&](std::uint32_t) {
    while (sys::read_signal(signals.get())) (void)sys::write_full(socket, std::string_view("s"));
  }));
  std::optional<Error> failure;
  MVM_TRY(loop.add(socket, EPOLLIN, [&](std::uint32_t) {
    std::array<std::byte, 65536> chunk;
    const auto count = sys::read_some(socket, chunk);
    if (!count || *count == 0 || !sys::write_full(STDOUT_FILENO, std::span(chunk).first(*count)))
      loop.stop();
  }));
  return loop.run();
}

Result<> manage(const std::vector<wire::ServiceRequest>& services, int cgroup_fd,
                const sys::UniqueFd& listener) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  sys::EventLoop loop = MVM_TRY(sys::EventLoop::create());
  const sys::UniqueFd signals = MVM_TRY(sys::signal_fd({SIGTERM, SIGCHLD}));
  Manager manager(loop, services, cgroup_fd);
  MVM_TRY(manager.add_listener(MVM_TRY(sys::duplicate(STDOUT_FILENO)), false));
  // The last word to the host is our end.
  ::close(STDOUT_FILENO);
  MVM_TRY(loop.add(signals.get(), EPOLLIN, [&](std::uint32_t) {
    while (auto signal = sys::read_signal(signals.get())) {
      if (signal->ssi_signo == SIGTERM) manager.stop();
    }
    manager.on_child();
  }));
  MVM_TRY(loop.add(listener.get(), EPOLLIN, [&](std::uint32_t) {
    sys::UniqueFd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (peer && is_trusted(peer.get())) (void)manager.add_listener(std::move(peer), true);
  }));
  manager.start();
  while (!manager.done()) MVM_TRY(loop.run_once(Deadline::none()));
  return {};
}

}  // namespace

Result<> serve(const std::vector<wire::ServiceRequest>& services, int cgroup_fd) {
  ::signal(SIGPIPE, SIG_IGN);
  const Address where = address();
  const auto* name = reinterpret_cast<const sockaddr*>(&where.un);
  const sys::UniqueFd running = stream_socket(0);
  if (running && ::connect(running.get(), name, where.length) == 0) return join(running.get());
  const sys::UniqueFd listener = stream_socket(SOCK_NONBLOCK);
  if (!listener || ::bind(listener.get(), name, where.length) != 0 ||
      ::listen(listener.get(), kBacklog) != 0)
    return Error::from_errno("listen for the host");
  return manage(services, cgroup_fd, listener);
}

}  // namespace mvm::agent::services
