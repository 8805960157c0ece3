// SPDX-License-Identifier: Apache-2.0
// mvm-netd: the user-mode network of one guest (netd/options.h has its command line).
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <span>
#include <utility>

#include "core/log.h"
#include "netd/serve.h"

#if defined(__SANITIZE_ADDRESS__)
// The search for leaks at the end of a program makes a thread that looks at the others, which the
// filter is there to forbid.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

namespace {

mvm::Result<> run(const mvm::netd::Options& options) {
  using namespace mvm::netd;
  TapLink link;
  if (!options.tap.empty())
    link = MVM_TRY(make_tap_link(options.tap, options.tap_owner.value_or(::geteuid())));
  MVM_TRY(confine());
  return serve(options, std::move(link));
}

}  // namespace

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
  const Result<> done = run(*options);
  if (done) return 0;
  log::error(done.error().text());
  if (!done.error().hint().empty()) log::error(done.error().hint());
  return 1;
}
