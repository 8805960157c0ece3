// SPDX-License-Identifier: Apache-2.0
// Signals as readable descriptors.
#pragma once

#include <sys/signalfd.h>

#include <initializer_list>
#include <optional>
#include <string_view>

#include "core/result.h"
#include "sys/unique_fd.h"

namespace mvm::sys {

// Blocks the signals for the process and returns a non-blocking signalfd that reports them.
Result<UniqueFd> signal_fd(std::initializer_list<int> signals);
// The next pending signal, if any.
std::optional<signalfd_siginfo> read_signal(int fd);

// "TERM", "SIGTERM" or "15" → 15. Errors: kInvalidArgument.
Result<int> parse_signal(std::string_view text);

}  // namespace mvm::sys
