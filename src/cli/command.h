// SPDX-License-Identifier: Apache-2.0
// A verb of mvmctl as data: options, positionals, help, and the function that acts.
//
// One file per verb exports a factory that is listed in verbs.cc. The factory allocates the verb's
// options once and shares them between the targets and the closure:
//
//   CommandSpec make_stop_command() {
//     struct Options { std::string vm; Millis timeout{10'000}; };
//     auto o = std::make_shared<Options>();
//     CommandSpec spec;
//     spec.description = "Asks the guest to shut down ...";
//     spec.options = {{.names = "-t,--timeout", .value_name = "TIME", .help = "...", .target =
//     &o->timeout}}; spec.positionals = {{.name = "VM", .help = "the machine", .target = &o->vm,
//     .complete = Complete::kVm}}; spec.run = [o](Context& context) -> Result<int> { return
//     stop(context, *o); }; return spec;
//   }
//
// A factory does no I/O: help, man pages and completion call every one of them. Parsing, help text,
// `roff` and shell completion all read the same spec. -h/--help, --json, -q/--quiet and
// -v/--verbose exist on every verb (results in Context) and may not be declared again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "cli/context.h"
#include "core/result.h"
#include "core/units.h"

namespace mvm::cli {

// Where a parsed value goes. The value found there before parsing is the default, shown in the help
// when it is not empty or zero. A bool is a flag; a vector collects repeats; of any other repeated
// option the last one counts.
using Target =
    std::variant<std::monostate, bool*, std::string*, std::vector<std::string>*,
                 std::optional<std::string>*, std::uint32_t*, std::optional<std::uint32_t>*, Bytes*,
                 std::optional<Bytes>*, Millis*, std::optional<Millis>*>;

// What the shell offers for a value.
enum class Complete { kNone, kFile, kDirectory, kVm, kImage, kSnapshot };

struct Option {
  std::string names = {};       // "-e,--env"; at least one, the long one last
  std::string value_name = {};  // "NAME=VALUE"; empty for flags
  std::string help = {};
  Target target = {};
  std::vector<std::string> choices = {};  // when not empty, the only values allowed
  bool required = false;
  bool hidden = false;  // parsed, but left out of help, man page and completion
  Complete complete = Complete::kNone;
};

// "-e", "--env"
std::vector<std::string> names_of(const Option& option);

struct Positional {
  std::string name = {};  // "VM"
  std::string help = {};
  Target target = {};  // a vector takes all that is left
  bool required = true;
  std::vector<std::string> choices = {};
  Complete complete = Complete::kNone;
};

// Everything after the first "--", untouched.
struct GuestCommand {
  std::vector<std::string>* target = nullptr;  // nullptr: the verb takes no guest command
  std::string help = {};
  bool required = false;
};

struct Example {
  std::string command;  // "mvmctl run -- uname -a"
  std::string what;     // "boot the default image and run one command"
};

struct CommandSpec {
  // Filled from the verb table for a verb; to be written for a sub-command.
  std::string name = {};
  std::vector<std::string> aliases = {};
  std::string summary = {};  // one line, lower case, no full stop

  std::string description = {};  // paragraphs separated by an empty line
  std::vector<Option> options = {};
  std::vector<Positional> positionals = {};
  GuestCommand guest_command = {};
  std::vector<Example> examples = {};
  // Exit codes this verb adds to, or words differently from, the common table (cli/exit.h).
  std::vector<std::pair<int, std::string>> exit_codes = {};

  // Either sub-commands ("image pull"; one level) or `run`. Returns the exit code.
  std::vector<CommandSpec> subcommands = {};
  std::function<Result<int>(Context&)> run = {};
};

// One row of the verb table: what dispatch and the overview need without building the spec.
struct VerbEntry {
  std::string_view name;
  std::string_view group;    // heading in the overview; empty: hidden verb
  std::string_view summary;  // one line, lower case, no full stop
  CommandSpec (*make)();
  std::string_view alias = {};  // second name, or empty
};

// The verb's spec with name, alias and summary of the table filled in.
CommandSpec make_spec(const VerbEntry& entry);

// The verb called `name` (by name or alias), or nullptr.
const VerbEntry* find_verb(std::span<const VerbEntry> verbs, std::string_view name);

}  // namespace mvm::cli
