// SPDX-License-Identifier: Apache-2.0
#include "cli/dispatch.h"

#include <algorithm>
#include <csignal>

#include "cli/exit.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/parser.h"
#include "core/log.h"
#include "core/nearest.h"

namespace mvm::cli {
namespace {

using Args = std::span<const std::string>;

Error unknown(std::string_view kind, const std::string& name, std::span<const std::string> known,
              const std::string& see) {
  std::string guess;
  for (const std::string& near : nearest(name, known))
    guess += (guess.empty() ? "did you mean " : " or ") + near;
  if (!guess.empty()) guess += "? ";
  return Error(Errc::kInvalidArgument, "unknown " + std::string(kind) + " '" + name + "'")
      .with_hint(guess + see);
}

// Takes the common flags that stand before a verb or sub-command. Errors: any other option.
Result<bool> take_leading_flags(Context& context, Args& args, std::string_view help_path) {
  bool help = false;
  for (; !args.empty() && args.front().starts_with('-'); args = args.subspan(1)) {
    const std::string& flag = args.front();
    if (flag == "--json")
      context.json = true;
    else if (flag == "-q" || flag == "--quiet")
      context.quiet = true;
    else if (flag == "-v" || flag == "--verbose")
      context.verbose = true;
    else if (flag == "-h" || flag == "--help")
      help = true;
    else {
      return Error(Errc::kInvalidArgument, "unknown option " + flag.substr(0, flag.find('=')))
          .with_hint("options of a verb go after it; see 'mvmctl help" + std::string(help_path) +
                     "'");
    }
  }
  return help;
}

void set_log_up(const Context& context) {
  const log::Level normal = context.quiet ? log::Level::kError : log::Level::kWarn;
  log::init(context.err_fd, context.verbose ? log::Level::kDebug : normal, "mvmctl: ");
}

Result<int> run_command(Context& context, const CommandSpec& spec, const std::string& path,
                        Args args) {
  if (MVM_TRY(parse(spec, path, args, context)) == Parsed::kHelp) {
    context.print(help_text(spec, path));
    return kExitOk;
  }
  set_log_up(context);
  return spec.run(context);
}

Result<int> run_subcommand(Context& context, const CommandSpec& spec, Args args) {
  const bool help = MVM_TRY(take_leading_flags(context, args, " " + spec.name));
  if (help) {
    context.print(help_text(spec, spec.name));
    return kExitOk;
  }
  if (args.empty()) {
    std::string names;
    for (const CommandSpec& sub : spec.subcommands) names += (names.empty() ? "" : ", ") + sub.name;
    return Error(Errc::kInvalidArgument, "missing command").with_hint("one of: " + names);
  }
  const CommandSpec* sub = MVM_TRY(find_subcommand(spec, args.front()));
  auto result = run_command(context, *sub, spec.name + " " + sub->name, args.subspan(1));
  if (!result && result.error().code() == Errc::kInvalidArgument) {
    return std::move(result.error()).with_context(sub->name);
  }
  return result;
}

Result<int> run_verb(Context& context, Args args) {
  if (!args.empty() && (args.front() == "--version" || args.front() == "-V")) {
    const std::vector<std::string> words = {"version"};
    return run_verb(context, words);
  }
  const bool help = MVM_TRY(take_leading_flags(context, args, ""));
  if (help || args.empty()) {
    context.print(overview(context.verbs));
    return kExitOk;
  }
  const VerbEntry* verb = find_verb(context.verbs, args.front());
  if (verb == nullptr) return unknown_verb(context.verbs, args.front());
  const CommandSpec spec = make_spec(*verb);
  auto result = spec.subcommands.empty() ? run_command(context, spec, spec.name, args.subspan(1))
                                         : run_subcommand(context, spec, args.subspan(1));
  // A usage error says which verb's usage it is about; other errors name their object themselves.
  if (!result && result.error().code() == Errc::kInvalidArgument) {
    return std::move(result.error()).with_context(spec.name);
  }
  return result;
}

// Errors in the arguments are to be JSON too when --json is among them.
bool asks_for_json(Args args) {
  const auto end = std::ranges::find(args, "--");
  return std::find(args.begin(), end, "--json") != end;
}

}  // namespace

Error unknown_verb(std::span<const VerbEntry> verbs, const std::string& name) {
  std::vector<std::string> known;
  for (const VerbEntry& verb : verbs) {
    if (verb.group.empty()) continue;
    known.emplace_back(verb.name);
    if (!verb.alias.empty()) known.emplace_back(verb.alias);
  }
  return unknown("verb", name, known, "'mvmctl help' lists the verbs");
}

Result<const CommandSpec*> find_subcommand(const CommandSpec& spec, const std::string& name) {
  std::vector<std::string> known;
  for (const CommandSpec& sub : spec.subcommands) {
    if (sub.name == name || std::ranges::find(sub.aliases, name) != sub.aliases.end()) return &sub;
    known.push_back(sub.name);
  }
  return unknown("command", name, known, "see 'mvmctl help " + spec.name + "'");
}

int dispatch(Context& context, std::span<const std::string> args) {
  context.json = asks_for_json(args);
  set_log_up(context);
  const auto result = run_verb(context, args);
  if (!result) print_error(context, result.error());
  if (!context.output_error()) return result ? *result : exit_code_for(result.error());
  // A reader that went away ("| head") wants no message.
  if (context.output_error()->errnum() == EPIPE) return kExitSignalBase + SIGPIPE;
  context.json = false;
  print_error(context, *context.output_error());
  return kExitMvmFailed;
}

}  // namespace mvm::cli
