// SPDX-License-Identifier: Apache-2.0
// Exit codes of mvmctl. The one table: the man pages are generated from it.
#pragma once

#include <span>
#include <string_view>

#include "core/result.h"

namespace mvm::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 64;           // sysexits.h EX_USAGE
inline constexpr int kExitWaitFailed = 65;      // `wait`: the machine failed or is gone
inline constexpr int kExitWaitTimeout = 75;     // `wait`: not ready in time
inline constexpr int kExitTimeout = 124;        // as timeout(1)
inline constexpr int kExitMvmFailed = 125;      // as docker run
inline constexpr int kExitNotExecutable = 126;  // as the shell
inline constexpr int kExitNotFound = 127;       // as the shell
inline constexpr int kExitSignalBase = 128;     // + signal number
inline constexpr int kExitInterrupted = 130;    // 128 + SIGINT

struct ExitMeaning {
  std::string_view code;
  std::string_view meaning;
};
// Common to every verb, in the order of the man page.
std::span<const ExitMeaning> exit_table();

// kInvalidArgument → 64, kTimeout → 124, kCancelled → 130, anything else → 125. A verb that knows
// better (126/127 of a guest command, `wait`) returns its code itself.
int exit_code_for(const Error& error);

}  // namespace mvm::cli
