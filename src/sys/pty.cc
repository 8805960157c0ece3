// SPDX-License-Identifier: Apache-2.0
#include "sys/pty.h"

#include <sys/ioctl.h>

namespace mvm::sys {

std::optional<WindowSize> window_size(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0) return std::nullopt;
  if (size.ws_row == 0 || size.ws_col == 0) return WindowSize{};
  return WindowSize{size.ws_row, size.ws_col};
}

Result<RawMode> RawMode::enter(int fd) {
  termios saved;
  if (::tcgetattr(fd, &saved) != 0) return Error::from_errno("tcgetattr");
  termios raw = saved;
  ::cfmakeraw(&raw);
  if (::tcsetattr(fd, TCSADRAIN, &raw) != 0) return Error::from_errno("tcsetattr");
  return RawMode(fd, saved);
}

RawMode::~RawMode() {
  if (fd_ >= 0) ::tcsetattr(fd_, TCSADRAIN, &saved_);
}

}  // namespace mvm::sys
