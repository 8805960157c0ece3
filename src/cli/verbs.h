// SPDX-License-Identifier: Apache-2.0
// The table of verbs. Only the verb that the command line names is built.
#pragma once

#include <span>

#include "cli/command.h"

namespace mvm::cli {

// Every verb, in the order of the overview; hidden ones (empty group) last.
std::span<const VerbEntry> verbs();

// The verbs of the framework itself; the factories of all others are declared in verbs.cc.
CommandSpec make_version_command();
CommandSpec make_help_command();
CommandSpec make_completion_command();
CommandSpec make_man_command();

}  // namespace mvm::cli
