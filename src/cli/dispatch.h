// SPDX-License-Identifier: Apache-2.0
// From argv to an exit code: finds the verb, parses, runs, prints the error.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cli/command.h"
#include "core/result.h"

namespace mvm::cli {

// `args` is argv without the program's name. Common flags may also stand before the verb. Sets the
// log up.
int dispatch(Context& context, std::span<const std::string> args);

// kInvalidArgument, with the nearest names in the hint.
Error unknown_verb(std::span<const VerbEntry> verbs, const std::string& name);

// The sub-command of that name or alias. Errors: kInvalidArgument, with the nearest names.
Result<const CommandSpec*> find_subcommand(const CommandSpec& spec, const std::string& name);

}  // namespace mvm::cli
