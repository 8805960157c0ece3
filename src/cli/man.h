// SPDX-License-Identifier: Apache-2.0
// Man pages in roff (man macros), generated from the specs.
#pragma once

#include <span>
#include <string>

#include "cli/command.h"

namespace mvm::cli {

// mvmctl(1): the verbs, exit status, environment, files.
std::string man_overview(std::span<const VerbEntry> verbs);
// mvmctl-VERB(1), with the sub-commands of the verb.
std::string man_page(const CommandSpec& spec);

}  // namespace mvm::cli
