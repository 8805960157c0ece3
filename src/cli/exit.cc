// SPDX-License-Identifier: Apache-2.0
#include "cli/exit.h"

#include <array>

namespace mvm::cli {

std::span<const ExitMeaning> exit_table() {
  static constexpr std::array kTable = {
      ExitMeaning{"0",
                  "success; for commands that run something in a guest, the guest's own exit code "
                  "(0 to 255)"},
      ExitMeaning{"64", "usage: the command line or a value on it is wrong"},
      ExitMeaning{"65", "wait: the machine failed or ended before it was ready"},
      ExitMeaning{"75", "wait: the machine was not ready in time"},
      ExitMeaning{"124", "a time limit has passed"},
      ExitMeaning{"125", "mvm failed before the command could run, or while doing its own work"},
      ExitMeaning{"126", "the guest's command was found but cannot be executed"},
      ExitMeaning{"127", "the guest's command was not found"},
      ExitMeaning{"128+n", "the guest's command was ended by signal n"},
      ExitMeaning{"130", "interrupted (Ctrl-C)"},
  };
  return kTable;
}

int exit_code_for(const Error& error) {
  switch (error.code()) {
    case Errc::kInvalidArgument:
      return kExitUsage;
    case Errc::kTimeout:
      return kExitTimeout;
    case Errc::kCancelled:
      return kExitInterrupted;
    default:
      return kExitMvmFailed;
  }
}

}  // namespace mvm::cli
