// SPDX-License-Identifier: Apache-2.0
// The verbs that explain a program's other verbs; every program of this frame has them.
#pragma once

#include "cli/command.h"

namespace mvm::cli {

CommandSpec make_completion_command();
CommandSpec make_help_command();
CommandSpec make_version_command();
CommandSpec make_man_command();

}  // namespace mvm::cli
