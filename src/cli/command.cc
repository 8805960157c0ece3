// SPDX-License-Identifier: Apache-2.0
#include "cli/command.h"

#include <algorithm>

namespace mvm::cli {

std::vector<std::string> names_of(const Option& option) {
  std::vector<std::string> out(1);
  for (const char c : option.names) {
    if (c == ',') {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

CommandSpec make_spec(const VerbEntry& entry) {
  CommandSpec spec = entry.make();
  spec.name = entry.name;
  spec.summary = entry.summary;
  if (!entry.alias.empty()) spec.aliases = {std::string(entry.alias)};
  return spec;
}

const VerbEntry* find_verb(std::span<const VerbEntry> verbs, std::string_view name) {
  const auto found = std::ranges::find_if(verbs, [&](const VerbEntry& entry) {
    return !name.empty() && (entry.name == name || entry.alias == name);
  });
  return found == verbs.end() ? nullptr : &*found;
}

}  // namespace mvm::cli
