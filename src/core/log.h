// SPDX-License-Identifier: Apache-2.0
// The log facade: one line per event on a file descriptor chosen once at start (stderr by default).
//
// The CLI logs warnings and, with -v, what it does; the supervisor logs its VM's life into
// supervisor.log. Threads: each line is one write(2), so lines of several processes do not mix.
#pragma once

#include <string_view>

namespace mvm::log {

enum class Level { kDebug, kInfo, kWarn, kError, kOff };

// Called once by main(), before any thread exists. `prefix` starts every line ("mvmctl: ").
void init(int fd, Level least, std::string_view prefix);

bool enabled(Level level);
void write(Level level, std::string_view message);

inline void debug(std::string_view message) { write(Level::kDebug, message); }
inline void info(std::string_view message) { write(Level::kInfo, message); }
inline void warn(std::string_view message) { write(Level::kWarn, message); }
inline void error(std::string_view message) { write(Level::kError, message); }

}  // namespace mvm::log
