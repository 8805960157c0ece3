// SPDX-License-Identifier: Apache-2.0
// Names of archive entries: made relative and clean, or refused. Pure.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace mvm::image {

// "./usr//bin/" and "/usr/bin" → "usr/bin"; "./" and "/" → "".
// Errors: kCorrupt naming the entry for "..", NUL, an empty name, a path or name too long or too
// deep.
Result<std::string> entry_path(std::string_view name);

// The target of a hard link, which names another entry of the tree: like entry_path(), and never
// absolute or empty.
Result<std::string> hard_link_path(std::string_view entry, std::string_view target);

// "a/b/c" → {"a/b", "c"}; "c" → {"", "c"}.
struct SplitPath {
  std::string_view parent;
  std::string_view name;
};
SplitPath split_path(std::string_view path);

// For messages: control characters as \xNN, cut at 200 bytes, in quotes.
std::string shown(std::string_view text);

}  // namespace mvm::image
