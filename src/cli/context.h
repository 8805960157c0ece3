// SPDX-License-Identifier: Apache-2.0
// What every verb is given: the common flags and where output goes.
//
// Results go to stdout, everything else (errors, notes, progress) to stderr. With --json a verb
// prints exactly one JSON document on stdout.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cli/json.h"
#include "core/result.h"

namespace mvm::cli {

struct VerbEntry;

class Context {
 public:
  Context(std::span<const VerbEntry> table, int out, int err)
      : verbs(table), out_fd(out), err_fd(err) {}

  // The common flags.
  bool json = false;
  bool quiet = false;
  bool verbose = false;

  const std::span<const VerbEntry> verbs;
  const int out_fd;
  const int err_fd;

  // Writes text to stdout as it is. The first failed write (disk full, reader gone) is kept, later
  // text is dropped, and main turns it into the exit code: a verb need not check.
  void print(std::string_view text);
  // Writes {"schema": schema, ...members of body} and a newline. `body` is an object.
  void print_json(int schema, const Json& body);
  // One line for people on stderr; nothing with --quiet.
  void note(std::string_view line) const;

  const std::optional<Error>& output_error() const { return output_error_; }

 private:
  std::optional<Error> output_error_;
};

}  // namespace mvm::cli
