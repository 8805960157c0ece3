// SPDX-License-Identifier: Apache-2.0
#include "sys/signals.h"

#include <signal.h>

#include <charconv>
#include <cstring>
#include <string>

namespace mvm::sys {

Result<UniqueFd> signal_fd(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : signals) sigaddset(&set, s);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return Error::from_errno("sigprocmask");
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return Error::from_errno("signalfd");
  return fd;
}

std::optional<signalfd_siginfo> read_signal(int fd) {
  signalfd_siginfo info;
  if (::read(fd, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  return info;
}

Result<int> parse_signal(std::string_view text) {
  std::string_view name = text;
  if (name.starts_with("SIG")) name.remove_prefix(3);
  int number = 0;
  const auto [end, ec] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (ec == std::errc() && end == name.data() + name.size() && number > 0 && number < NSIG)
    return number;
  for (int s = 1; s < NSIG; ++s) {
    const char* abbreviation = ::sigabbrev_np(s);
    if (abbreviation != nullptr && name == abbreviation) return s;
  }
  if (name == "RTMIN+3") return SIGRTMIN + 3;  // the stop signal of images that run systemd
  return Error(Errc::kInvalidArgument, "'" + std::string(text) + "' is not a signal")
      .with_hint("write a name or a number, as in TERM or 15");
}

}  // namespace mvm::sys
