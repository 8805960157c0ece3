// SPDX-License-Identifier: Apache-2.0
#include "cli/help.h"

#include <algorithm>

#include "cli/output.h"
#include "cli/version.h"

namespace mvm::cli {
namespace {

constexpr std::size_t kWidth = 90;
constexpr std::size_t kWidestName = 30;  // wider names get a line of their own

struct Entry {
  std::string name;
  std::string help;
};

std::string indented(const std::string& text, std::size_t indent) {
  std::string out;
  for (const std::string& line : wrap(text, kWidth - indent)) {
    out += line.empty() ? "\n" : std::string(indent, ' ') + line + "\n";
  }
  return out;
}

// "  NAME    help", the help aligned and wrapped beside the names.
std::string entry_list(const std::vector<Entry>& entries) {
  std::size_t column = 0;
  for (const Entry& entry : entries) {
    if (entry.name.size() <= kWidestName) column = std::max(column, entry.name.size());
  }
  const std::size_t indent = column + 4;
  std::string out;
  for (const Entry& entry : entries) {
    std::string line = "  " + entry.name;
    if (entry.name.size() > column) {
      out += line + "\n";
      line.clear();
    }
    const std::string help = indented(entry.help, indent);
    line.resize(indent, ' ');
    out += help.empty() ? std::string(line, 0, line.find_last_not_of(' ') + 1) + "\n"
                        : line + help.substr(indent);
  }
  return out;
}

// "-e, --env NAME=VALUE"; long names line up where there is no short one.
std::string option_name(const Option& option) {
  std::string out;
  for (const char c : option.names) out += c == ',' ? std::string(", ") : std::string(1, c);
  if (!out.starts_with("--"))
    return option.value_name.empty() ? out : out + " " + option.value_name;
  return "    " + out + (option.value_name.empty() ? "" : " " + option.value_name);
}

std::string with_notes(const std::string& help, const Target& target,
                       const std::vector<std::string>& choices, bool required) {
  std::string notes;
  const auto note = [&](const std::string& text) {
    if (!text.empty()) notes += (notes.empty() ? "" : "; ") + text;
  };
  if (required) note("required");
  std::string list;
  for (const std::string& choice : choices) list += (list.empty() ? "one of " : ", ") + choice;
  note(list);
  note(default_text(target));
  if (std::holds_alternative<std::vector<std::string>*>(target)) note("may be repeated");
  return notes.empty() ? help : help + " (" + notes + ")";
}

std::string section(std::string_view title, const std::vector<Entry>& entries) {
  return entries.empty() ? "" : "\n" + std::string(title) + ":\n" + entry_list(entries);
}

std::vector<Entry> option_entries(std::span<const Option> options) {
  std::vector<Entry> out;
  for (const Option& option : options) {
    if (option.hidden) continue;
    out.push_back({option_name(option),
                   with_notes(option.help, option.target, option.choices, option.required)});
  }
  return out;
}

std::vector<Entry> argument_entries(const CommandSpec& spec) {
  std::vector<Entry> out;
  for (const Positional& positional : spec.positionals) {
    out.push_back({positional.name,
                   with_notes(positional.help, positional.target, positional.choices, false)});
  }
  if (spec.guest_command.target != nullptr)
    out.push_back({"COMMAND [ARG...]", spec.guest_command.help});
  return out;
}

std::string example_text(const CommandSpec& spec) {
  std::string out;
  for (const Example& example : spec.examples) {
    out += "  " + example.command + "\n" + indented(example.what, 6);
  }
  return out.empty() ? out : "\nExamples:\n" + out;
}

struct DefaultText {
  std::string operator()(std::monostate) const { return ""; }
  std::string operator()(const bool*) const { return ""; }
  std::string operator()(const std::vector<std::string>*) const { return ""; }
  std::string operator()(const std::string* text) const { return *text; }
  std::string operator()(const std::uint32_t* number) const {
    return *number == 0 ? "" : std::to_string(*number);
  }
  std::string operator()(const Bytes* size) const {
    return size->count == 0 ? "" : format_size(*size);
  }
  std::string operator()(const Millis* time) const {
    return time->count() == 0 ? "" : format_duration(*time);
  }
  template <class T>
  std::string operator()(std::optional<T>* value) const {
    return *value ? (*this)(&**value) : "";
  }
};

// The lines of one paragraph; an indented paragraph (a code block) is kept as it is.
void wrap_line(std::string_view line, std::size_t width, std::vector<std::string>& out) {
  if (line.starts_with(' ')) {
    out.emplace_back(line);
    return;
  }
  std::string current;
  while (!line.empty()) {
    const std::size_t end = std::min(line.find(' '), line.size());
    const std::string_view word = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
    if (!current.empty() && display_width(current) + 1 + display_width(word) > width) {
      out.push_back(std::exchange(current, {}));
    }
    if (!current.empty()) current += ' ';
    current += word;
  }
  out.push_back(current);
}

}  // namespace

std::vector<std::string> wrap(std::string_view text, std::size_t width) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    wrap_line(text.substr(0, end), width, out);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::string default_text(const Target& target) {
  const std::string value = std::visit(DefaultText{}, target);
  return value.empty() ? "" : "default " + value;
}

std::span<const Option> common_options() {
  static const std::vector<Option> kCommon = {
      {.names = "--json", .help = "print one JSON document on standard output"},
      {.names = "-q,--quiet", .help = "say nothing but results and errors"},
      {.names = "-v,--verbose", .help = "say what is done"},
      {.names = "-h,--help", .help = "print this help"},
  };
  return kCommon;
}

std::string usage_line(const CommandSpec& spec, std::string_view path) {
  std::string out = "mvmctl " + std::string(path);
  if (!spec.subcommands.empty()) return out + " COMMAND [OPTION...]";
  if (!spec.options.empty()) out += " [OPTION...]";
  for (const Positional& positional : spec.positionals) {
    const bool repeated = std::holds_alternative<std::vector<std::string>*>(positional.target);
    const std::string name = positional.name + (repeated ? "..." : "");
    out += positional.required ? " " + name : " [" + name + "]";
  }
  if (spec.guest_command.target == nullptr) return out;
  return out + (spec.guest_command.required ? " -- COMMAND [ARG...]" : " [-- COMMAND [ARG...]]");
}

std::string help_text(const CommandSpec& spec, std::string_view path) {
  std::string out = "mvmctl " + std::string(path) + " - " + spec.summary + "\n\n";
  out += "Usage: " + usage_line(spec, path) + "\n";
  for (const std::string& alias : spec.aliases) {
    const std::size_t parent = path.rfind(' ') == std::string_view::npos ? 0 : path.rfind(' ') + 1;
    out += "Alias: mvmctl " + std::string(path.substr(0, parent)) + alias + "\n";
  }
  if (!spec.description.empty()) out += "\n" + indented(spec.description, 0);
  std::vector<Entry> subcommands;
  for (const CommandSpec& sub : spec.subcommands) subcommands.push_back({sub.name, sub.summary});
  out += section("Commands", subcommands);
  out += section("Arguments", argument_entries(spec));
  out += section("Options", option_entries(spec.options));
  out += section("Common options", option_entries(common_options()));
  out += example_text(spec);
  if (!subcommands.empty())
    out += "\n'mvmctl help " + std::string(path) + " COMMAND' explains one of them.\n";
  return out;
}

std::string overview(std::span<const VerbEntry> verbs) {
  std::string out = "mvmctl " + std::string(version()) +
                    " - builds Linux images and boots them as local microVMs\n\n";
  out += "Usage: mvmctl VERB [OPTION...] [ARGUMENT...]\n";
  std::vector<std::string_view> groups;
  for (const VerbEntry& verb : verbs) {
    if (!verb.group.empty() && std::ranges::find(groups, verb.group) == groups.end())
      groups.push_back(verb.group);
  }
  std::size_t widest = 0;
  for (const VerbEntry& verb : verbs) {
    if (!verb.group.empty()) widest = std::max(widest, verb.name.size());
  }
  for (const std::string_view group : groups) {
    std::vector<Entry> entries;
    for (const VerbEntry& verb : verbs) {
      if (verb.group != group) continue;
      std::string name(verb.name);
      name.resize(widest, ' ');
      const std::string alias =
          verb.alias.empty() ? "" : " (also: " + std::string(verb.alias) + ")";
      entries.push_back({name, std::string(verb.summary) + alias});
    }
    out += section(group, entries);
  }
  out += section("Common options", option_entries(common_options()));
  return out +
         "\n'mvmctl help VERB' explains a verb, man mvmctl the whole: exit codes, environment, "
         "files.\n";
}

}  // namespace mvm::cli
