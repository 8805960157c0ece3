// SPDX-License-Identifier: Apache-2.0
// The terminal of the user, in raw mode for as long as a session lasts.
#pragma once

#include <termios.h>

#include <cstdint>
#include <optional>

#include "core/result.h"

namespace mvm::sys {

struct WindowSize {
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
};

// Nothing when the descriptor is no terminal.
std::optional<WindowSize> window_size(int fd);

// Switches a terminal to raw mode and restores it on destruction.
class RawMode {
 public:
  static Result<RawMode> enter(int fd);
  RawMode(RawMode&& other) noexcept : fd_(std::exchange(other.fd_, -1)), saved_(other.saved_) {}
  RawMode& operator=(RawMode&&) = delete;
  ~RawMode();

 private:
  RawMode(int fd, const termios& saved) : fd_(fd), saved_(saved) {}
  int fd_;
  termios saved_;
};

}  // namespace mvm::sys
