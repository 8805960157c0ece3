// SPDX-License-Identifier: Apache-2.0
// Text for people: errors and tables.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/context.h"
#include "core/result.h"

namespace mvm::cli {

// "mvmctl: <chain>\n  hint: <next step>\n". Control characters, which guests and images may have
// put there, become '?'.
std::string error_text(const Error& error);

// {"error": {"code", "message", "hint", "context"}}; context is outermost first, hint may be null.
Json error_json(const Error& error);

// With --json the object on stdout, else the text on stderr.
void print_error(Context& context, const Error& error);

// Columns aligned by the widest cell, two spaces apart, no trailing spaces. Headers are
// upper-cased.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  // Numbers and sizes read better so.
  Table& align_right(std::size_t column);
  // Missing cells are empty, surplus cells are dropped; an empty cell shows as "-".
  void add(std::vector<std::string> row);
  std::string text() const;

 private:
  std::string line(const std::vector<std::string>& row,
                   const std::vector<std::size_t>& widths) const;
  std::vector<std::vector<std::string>> rows_;  // the header is the first
  std::vector<bool> right_;
};

// `text` without control characters (each becomes '?'); newlines and tabs stay with
// `keep_newlines`.
std::string printable(std::string_view text, bool keep_newlines = false);

// How long ago that was, in the coarsest unit only: "3m", "2h", "5d". Units: ms since 1970, UTC.
std::string age(std::int64_t created_ms);

// Columns that `text` takes on a terminal, counting code points.
std::size_t display_width(std::string_view text);

}  // namespace mvm::cli
