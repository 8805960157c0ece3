// SPDX-License-Identifier: Apache-2.0
// The command line of a helper program: long options only, as a table.
//
// For programs that are started once for each machine. A table of places costs a few microseconds;
// the parser library of mvmctl, with the streams and locales that it brings, costs milliseconds on
// an emulated host (docs/design/vmm.md).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/result.h"

namespace mvm {

class Arguments {
 public:
  // Where a value goes. A bool is a flag; a vector takes any number of repeats, all others one. The
  // value found there before parsing is the default, which the help shows.
  using Place =
      std::variant<bool*, std::string*, std::optional<std::string>*, std::vector<std::string>*,
                   int*, std::vector<int>*, std::uint32_t*, std::optional<std::uint32_t>*,
                   std::uint64_t*, std::optional<std::uint64_t>*>;

  // `about` is the first line of the help. Names and texts must outlive this.
  explicit Arguments(std::string_view about) : about_(about) {}

  // `name` with its two hyphens. `-h` is another name of `--help`, where that is added.
  void add(std::string_view name, Place place, std::string_view text);

  // Takes `--name value` and `--name=value`; a value that follows may not begin with `--`.
  // Errors: kInvalidArgument naming the option: unknown, repeated, without a value, not a number,
  // a flag with a value; a word that is no option.
  Result<> parse(std::span<const char* const> words);

  // Errors: kInvalidArgument naming the first that is not given.
  Result<> require(std::initializer_list<std::string_view> names) const;
  bool given(std::string_view name) const;
  // The first option on the command line whose name begins so.
  std::optional<std::string_view> first_given(std::string_view prefix) const;

  std::string help() const;

 private:
  struct Option {
    std::string_view name;
    Place place;
    std::string_view text;
    bool given = false;
  };
  Option* find(std::string_view name);

  std::string_view about_;
  std::vector<Option> options_;
};

}  // namespace mvm
