// SPDX-License-Identifier: Apache-2.0
// Command line → the targets of one CommandSpec.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace mvm::cli {

enum class Parsed { kRun, kHelp };

// Parses the arguments after the (sub-)command's name. With -h/--help anywhere before "--" nothing
// else is checked. `path` is "run" or "image pull". Errors: kInvalidArgument, with a hint.
Result<Parsed> parse(const CommandSpec& spec, std::string_view path,
                     std::span<const std::string> args, Context& context);

}  // namespace mvm::cli
