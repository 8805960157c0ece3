// SPDX-License-Identifier: Apache-2.0
// Help texts, at most 90 columns wide.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace mvm::cli {

// The options every command has.
std::span<const Option> common_options();

// "mvmctl": the verbs by group, and where to read on.
std::string overview(std::span<const VerbEntry> verbs);

// "mvmctl run": usage, description, arguments, options, examples. `path` is "run" or "image pull".
std::string help_text(const CommandSpec& spec, std::string_view path);

// "mvmctl run [OPTION...] IMAGE [-- COMMAND [ARG...]]"
std::string usage_line(const CommandSpec& spec, std::string_view path);

// "default 512M", or empty when the target holds nothing worth saying.
std::string default_text(const Target& target);

// Lines of at most `width` columns; paragraphs (empty line) and indented lines are kept.
std::vector<std::string> wrap(std::string_view text, std::size_t width);

}  // namespace mvm::cli
