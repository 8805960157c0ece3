// SPDX-License-Identifier: Apache-2.0
#include "core/log.h"

#include <unistd.h>

#include <string>

namespace mvm::log {
namespace {

// The one process-wide setting of mvm: where the log goes. Written once by main() before anything
// else runs.
struct Target {
  int fd = 2;
  Level least = Level::kWarn;
  std::string prefix;
};

Target& target() {
  static Target instance;
  return instance;
}

std::string_view label(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug: ";
    case Level::kInfo:
      return "";
    case Level::kWarn:
      return "warning: ";
    case Level::kError:
    case Level::kOff:  // of settings only: nothing is logged at it
      return "error: ";
  }
  return "";
}

}  // namespace

void init(int fd, Level least, std::string_view prefix) {
  target() = Target{fd, least, std::string(prefix)};
}

bool enabled(Level level) { return level >= target().least; }

void write(Level level, std::string_view message) {
  if (!enabled(level)) return;
  std::string line = target().prefix;
  line += label(level);
  line += message;
  line += '\n';
  // A log that cannot be written must not stop the work it describes.
  [[maybe_unused]] const auto ignored = ::write(target().fd, line.data(), line.size());
}

}  // namespace mvm::log
