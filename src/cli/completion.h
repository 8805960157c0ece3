// SPDX-License-Identifier: Apache-2.0
// Shell completion scripts, generated from the specs.
//
// Names of machines and images are asked from `mvmctl ls --quiet` and `mvmctl image ls --quiet`
// when the user presses TAB.
#pragma once

#include <span>
#include <string>

#include "cli/command.h"

namespace mvm::cli {

std::string bash_completion(std::span<const VerbEntry> verbs);
std::string zsh_completion(std::span<const VerbEntry> verbs);
std::string fish_completion(std::span<const VerbEntry> verbs);

}  // namespace mvm::cli
