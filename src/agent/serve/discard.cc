// SPDX-License-Identifier: Apache-2.0
#include "agent/serve/discard.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace mvm::agent {
namespace {

// The end of a descriptor; what it holds is gone.
bool drained(int fd) {
  std::array<char, 65536> bytes;
  for (;;) {
    const ssize_t n = ::read(fd, bytes.data(), bytes.size());
    if (n > 0) continue;
    return n == 0 || (errno != EAGAIN && errno != EINTR);
  }
}

// What else the agent has open is not ours to keep open.
void close_others(const std::vector<pollfd>& kept) {
  unsigned next = STDERR_FILENO + 1;
  for (const pollfd& p : kept) {
    const auto fd = static_cast<unsigned>(p.fd);
    if (fd > next) ::close_range(next, fd - 1, 0);
    next = fd + 1;
  }
  ::close_range(next, ~0U, 0);
}

[[noreturn]] void discard(const std::vector<sys::UniqueFd>& outputs) {
  ::signal(SIGTERM, SIG_DFL);
  std::vector<pollfd> open;
  for (const sys::UniqueFd& fd : outputs) open.push_back({fd.get(), POLLIN, 0});
  std::sort(open.begin(), open.end(), [](const pollfd& a, const pollfd& b) { return a.fd < b.fd; });
  close_others(open);
  while (!open.empty()) {
    (void)::poll(open.data(), open.size(), -1);
    std::erase_if(open, [](const pollfd& p) { return p.revents != 0 && drained(p.fd); });
  }
  ::_exit(0);
}

}  // namespace

// By value: ours close here.
// NOLINTNEXTLINE(performance-unnecessary-value-param)
void discard_outputs(std::vector<sys::UniqueFd> outputs) {
  if (outputs.empty()) return;
  if (::fork() == 0) discard(outputs);
}

}  // namespace mvm::agent
