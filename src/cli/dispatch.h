// SPDX-License-Identifier: Apache-2.0
// From argv to an exit code: finds the verb, parses, runs, prints the error.
#pragma once

#include <span>
#include <string>

#include "cli/context.h"

namespace mvm::cli {

// `args` is argv without the program's name. Common flags may also stand before the verb.
int dispatch(Context& context, std::span<const std::string> args);

}  // namespace mvm::cli
