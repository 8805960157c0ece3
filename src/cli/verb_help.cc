// SPDX-License-Identifier: Apache-2.0
#include "cli/dispatch.h"
#include "cli/help.h"
#include "cli/own_verbs.h"

namespace mvm::cli {

namespace {

Result<std::string> explain(std::span<const VerbEntry> verbs,
                            const std::vector<std::string>& words) {
  if (words.empty()) return overview(verbs);
  const VerbEntry* verb = find_verb(verbs, words.front());
  if (verb == nullptr) return unknown_verb(verbs, words.front());
  const CommandSpec spec = make_spec(*verb);
  if (words.size() == 1) return help_text(spec, spec.name);
  const CommandSpec* sub = MVM_TRY(find_subcommand(spec, words[1]));
  return help_text(*sub, spec.name + " " + sub->name);
}

}  // namespace

CommandSpec make_help_command() {
  auto words = std::make_shared<std::vector<std::string>>();
  CommandSpec spec;
  spec.description = "Explains a verb, or without one lists them all.";
  spec.positionals = {{.name = "VERB",
                       .help = "a verb, and for some a command of it",
                       .target = words.get(),
                       .required = false}};
  spec.examples = {{"mvmctl help run", "the options of run"},
                   {"mvmctl help image pull", "a command of a verb"}};
  spec.run = [words](Context& context) -> Result<int> {
    const std::string text = MVM_TRY(explain(context.verbs, *words));
    if (context.json) {
      context.print_json(1, Json::object().set("help", text));
    } else {
      context.print(text);
    }
    return 0;
  };
  return spec;
}

}  // namespace mvm::cli
