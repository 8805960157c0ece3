// SPDX-License-Identifier: Apache-2.0
#include "cli/completion.h"

#include <algorithm>

#include "cli/completion_templates.h"
#include "cli/help.h"

namespace mvm::cli {
namespace {

// A command line prefix ("image pull") and what it is completed from.
struct Node {
  std::string path;
  CommandSpec spec;
  std::vector<Option> options;  // its own and the common ones
};

Node make_node(std::string path, CommandSpec spec) {
  std::vector<Option> options = spec.options;
  std::erase_if(options, [](const Option& option) { return option.hidden; });
  options.insert(options.end(), common_options().begin(), common_options().end());
  return {std::move(path), std::move(spec), std::move(options)};
}

// Every command under each of its names, without the hidden ones.
std::vector<Node> nodes(std::span<const VerbEntry> verbs) {
  std::vector<Node> out;
  for (const VerbEntry& verb : verbs) {
    if (verb.group.empty()) continue;
    std::vector<std::string> names = {std::string(verb.name)};
    if (!verb.alias.empty()) names.emplace_back(verb.alias);
    for (const std::string& name : names) {
      const CommandSpec spec = make_spec(verb);
      out.push_back(make_node(name, spec));
      for (const CommandSpec& sub : spec.subcommands) {
        out.push_back(make_node(name + " " + sub.name, sub));
        for (const std::string& alias : sub.aliases)
          out.push_back(make_node(name + " " + alias, sub));
      }
    }
  }
  return out;
}

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : std::string(between)) + word;
  return out;
}

// 'text' for a POSIX shell.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string_view kind_name(Complete kind) {
  switch (kind) {
    case Complete::kNone:
      return "none";
    case Complete::kFile:
      return "file";
    case Complete::kDirectory:
      return "dir";
    case Complete::kVm:
      return "vm";
    case Complete::kImage:
      return "image";
    case Complete::kSnapshot:
      return "snapshot";
  }
  return "none";
}

// The words after `help`: the verbs, as its spec cannot know them.
std::vector<std::string> choices_of(const Node& node, std::span<const Node> all) {
  std::vector<std::string> out;
  for (const CommandSpec& sub : node.spec.subcommands) out.push_back(sub.name);
  for (const Positional& positional : node.spec.positionals) {
    out.insert(out.end(), positional.choices.begin(), positional.choices.end());
  }
  if (node.path != "help") return out;
  for (const Node& other : all) {
    if (other.path.find(' ') == std::string::npos) out.push_back(other.path);
  }
  return out;
}

// "vm image": what the arguments of a command may be, without repeats.
std::string argument_kinds(const CommandSpec& spec) {
  std::vector<std::string> kinds;
  for (const Positional& positional : spec.positionals) {
    const std::string kind(kind_name(positional.complete));
    if (kind != "none" && std::ranges::find(kinds, kind) == kinds.end()) kinds.push_back(kind);
  }
  return joined(kinds, " ");
}

// One case per option that takes a value; it gets the kinds and the choices.
std::string value_cases(const Node& node) {
  std::string out;
  for (const Option& option : node.options) {
    if (option.value_name.empty()) continue;
    const std::string kind(kind_name(option.complete));
    out += "        " + joined(names_of(option), "|") + ") _mvmctl_values " + kind + " " +
           quoted(joined(option.choices, " ")) + "; return ;;\n";
  }
  return out;
}

// The body shared by bash and zsh: a case over the command, then over the word before the cursor.
std::string shell_cases(std::span<const Node> all) {
  std::string out = "  case $cmd in\n";
  for (const Node& node : all) {
    out += "    " + quoted(node.path) + ")\n";
    const std::string cases = value_cases(node);
    if (!cases.empty()) out += "      case $prev in\n" + cases + "      esac\n";
    std::vector<std::string> options;
    for (const Option& option : node.options) {
      for (const std::string& name : names_of(option)) options.push_back(name);
    }
    out += "      _mvmctl_words " + quoted(argument_kinds(node.spec)) + " " +
           quoted(joined(choices_of(node, all), " ")) + " " + quoted(joined(options, " ")) +
           " ;;\n";
  }
  std::vector<std::string> top;
  for (const Node& node : all) {
    if (node.path.find(' ') == std::string::npos) top.push_back(node.path);
  }
  out += "    '') _mvmctl_words '' " + quoted(joined(top, " ")) +
         " '--json --quiet --verbose --help --version' ;;\n  esac\n";
  return out;
}

// case patterns of the verbs that have sub-commands: 'image'|'cache'
std::string grouped_verbs(std::span<const Node> all) {
  std::vector<std::string> names;
  for (const Node& node : all) {
    if (!node.spec.subcommands.empty()) names.push_back(quoted(node.path));
  }
  return names.empty() ? "''" : joined(names, "|");
}

// `text` with every `mark` replaced.
std::string filled(std::string_view text, std::string_view mark, std::string_view by) {
  std::string out(text);
  for (std::size_t at = out.find(mark); at != std::string::npos;
       at = out.find(mark, at + by.size())) {
    out.replace(at, mark.size(), by);
  }
  return out;
}

std::string shell_script(std::string_view text, std::span<const VerbEntry> verbs) {
  const std::vector<Node> all = nodes(verbs);
  return filled(filled(text, "@GROUPED@", grouped_verbs(all)), "@CASES@", shell_cases(all));
}

std::string fish_values(Complete kind) {
  switch (kind) {
    case Complete::kNone:
      return "";
    case Complete::kFile:
      return "-F";
    case Complete::kDirectory:
      return "-a '(__fish_complete_directories)'";
    case Complete::kVm:
      return "-a '(mvmctl ls --quiet 2>/dev/null)'";
    case Complete::kImage:
      return "-a '(mvmctl image ls --quiet 2>/dev/null)'";
    case Complete::kSnapshot:
      return "-a '(mvmctl snapshot ls --quiet 2>/dev/null)'";
  }
  return "";
}

// 'text' for fish, where only \ and ' are special between single quotes.
std::string fish_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text)
    out += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return out + "'";
}

std::string fish_option(const std::string& head, const Option& option) {
  std::string line = head;
  for (const std::string& name : names_of(option)) {
    line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  if (!option.value_name.empty()) {
    line += option.complete == Complete::kFile ? " -r" : " -x";
    const std::string choices = joined(option.choices, " ");
    if (!choices.empty())
      line += " -a " + fish_quoted(choices);
    else if (option.complete != Complete::kNone)
      line += " " + fish_values(option.complete);
  }
  return line + " -d " + fish_quoted(option.help) + "\n";
}

std::string fish_node(const Node& node, std::span<const Node> all) {
  const std::string head = "complete -c mvmctl -n '__mvmctl_at " + node.path + "'";
  std::string out;
  for (const Option& option : node.options) out += fish_option(head, option);
  for (const CommandSpec& sub : node.spec.subcommands) {
    out += "complete -c mvmctl -n '__mvmctl_only " + node.path + "' -a " + sub.name + " -d " +
           fish_quoted(sub.summary) + "\n";
  }
  for (const Positional& positional : node.spec.positionals) {
    const std::string values = fish_values(positional.complete);
    if (!values.empty()) out += head + " " + values + "\n";
  }
  const std::string choices = joined(choices_of(node, all), " ");
  if (!choices.empty() && node.spec.subcommands.empty())
    out += head + " -a " + fish_quoted(choices) + "\n";
  return out;
}

}  // namespace

std::string bash_completion(std::span<const VerbEntry> verbs) {
  return shell_script(kBashTemplate, verbs);
}

std::string zsh_completion(std::span<const VerbEntry> verbs) {
  return shell_script(kZshTemplate, verbs);
}

std::string fish_completion(std::span<const VerbEntry> verbs) {
  std::string out(kFishTemplate);
  for (const VerbEntry& verb : verbs) {
    if (verb.group.empty()) continue;
    out += "complete -c mvmctl -n __mvmctl_only -a " + std::string(verb.name) + " -d " +
           fish_quoted(verb.summary) + "\n";
  }
  const std::vector<Node> all = nodes(verbs);
  for (const Node& node : all) out += fish_node(node, all);
  return out;
}

}  // namespace mvm::cli
