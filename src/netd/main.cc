// SPDX-License-Identifier: Apache-2.0
// mvm-netd: the user-mode network of one guest (netd/options.h has its command line).
#include <fcntl.h>
#include <signal.h>

#include <span>

#include "core/log.h"
#include "netd/serve.h"

#if defined(__SANITIZE_ADDRESS__)
// The search for leaks at the end of a program makes a thread that looks at the others, which the
// filter is there to forbid.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

int main(int argc, char** argv) {
  using namespace mvm;
  log::init(2, log::Level::kInfo, "mvm-netd: ");
  ::signal(SIGPIPE, SIG_IGN);
  const auto options = netd::parse_options(std::span(argv, static_cast<std::size_t>(argc)));
  if (!options) {
    log::error(options.error().text());
    return 2;
  }
  for (const int fd : {options->fd, options->ready_fd}) {
    if (fd >= 0) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  Result<> done = netd::confine();
  if (done) done = netd::serve(*options);
  if (done) return 0;
  log::error(done.error().text());
  return 1;
}
