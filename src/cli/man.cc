// SPDX-License-Identifier: Apache-2.0
// Source: man(7) of groff; man-pages(7) for the order of sections.
#include "cli/man.h"

#include <algorithm>

#include "cli/exit.h"
#include "cli/help.h"
#include "cli/version.h"

namespace mvm::cli {
namespace {

struct Item {
  std::string_view name;
  std::string_view text;
};

constexpr Item kEnvironment[] = {
    {"MVM_HOME",
     "Directory for everything mvm keeps: state, cache, configuration and sockets. Overrides the "
     "XDG variables."},
    {"XDG_DATA_HOME", "Images and machines are kept in mvm/ below it. Default: ~/.local/share"},
    {"XDG_CACHE_HOME", "What can be made again is kept in mvm/ below it. Default: ~/.cache"},
    {"XDG_CONFIG_HOME", "Settings are kept in mvm/ below it. Default: ~/.config"},
    {"XDG_RUNTIME_DIR", "Sockets and locks of running machines are kept in mvm/ below it."},
};

constexpr Item kFiles[] = {
    {"~/.local/share/mvm/", "Images and the scratch disks of machines."},
    {"~/.cache/mvm/", "Kernels, initramfs images and downloads; 'mvmctl cache prune' empties it."},
    {"~/.config/mvm/", "Settings, as shown by 'mvmctl config show'."},
};

// Text that roff takes literally, wherever it stands.
std::string escaped(std::string_view text) {
  std::string out;
  bool line_start = true;
  for (const char c : text) {
    if (line_start && (c == '.' || c == '\'')) out += "\\&";
    line_start = c == '\n';
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if (c == '\'')
      out += "\\(aq";
    else if (c == '^')
      out += "\\(ha";
    else if (c == '~')
      out += "\\(ti";
    else if (c == '`')
      out += "\\(ga";
    else
      out += c;
  }
  return out;
}

std::string bold(std::string_view text) { return "\\fB" + escaped(text) + "\\fR"; }
std::string italic(std::string_view text) { return "\\fI" + escaped(text) + "\\fR"; }

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

std::string title(std::string_view name) {
  return ".TH " + upper(name) + " 1 \"\" \"mvm " + std::string(version()) + "\" \"mvm manual\"\n";
}

std::string heading(std::string_view name) { return ".SH " + std::string(name) + "\n"; }

std::string item(const std::string& head, std::string_view text) {
  return ".TP\n" + head + "\n" + (text.empty() ? "\\&" : escaped(text)) + "\n";
}

// Paragraphs; indented lines are shown as they are.
std::string paragraphs(std::string_view text) {
  std::string out;
  bool literal = false;
  bool blank = false;
  const auto close = [&] { out += literal ? ".EE\n.RE\n" : "", literal = false; };
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) {
      blank = true;
      continue;
    }
    const bool indented = line.starts_with(' ');
    if (!indented) close();
    if (indented && !literal)
      out += ".PP\n.RS 4\n.EX\n", literal = true;
    else if (blank && !indented)
      out += ".PP\n";
    blank = false;
    out += escaped(line.substr(std::min(line.find_first_not_of(' '), line.size()))) + "\n";
  }
  close();
  return out;
}

// "\fB-e\fR, \fB--env\fR \fINAME=VALUE\fR"
std::string option_head(const Option& option) {
  std::string out;
  for (const std::string& name : names_of(option)) out += (out.empty() ? "" : ", ") + bold(name);
  return option.value_name.empty() ? out : out + " " + italic(option.value_name);
}

std::string notes(const Target& target, const std::vector<std::string>& choices) {
  std::string out;
  for (const std::string& choice : choices) out += (out.empty() ? " One of: " : ", ") + choice;
  const std::string value = default_text(target);
  if (!value.empty()) out += (out.empty() ? " D" : "; d") + value.substr(1);
  return out.empty() ? out : out + ".";
}

std::string option_items(std::span<const Option> options) {
  std::string out;
  for (const Option& option : options) {
    if (!option.hidden)
      out += item(option_head(option), option.help + notes(option.target, option.choices));
  }
  return out;
}

std::string argument_items(const CommandSpec& spec) {
  std::string out;
  for (const Positional& positional : spec.positionals) {
    out += item(italic(positional.name),
                positional.help + notes(positional.target, positional.choices));
  }
  if (spec.guest_command.target != nullptr)
    out += item(italic("COMMAND [ARG...]"), spec.guest_command.help);
  return out;
}

std::string example_items(const CommandSpec& spec) {
  std::string out;
  for (const Example& example : spec.examples) {
    out += ".PP\n" + escaped(example.what) + ":\n.PP\n.RS 4\n.EX\n" + escaped(example.command) +
           "\n.EE\n.RE\n";
  }
  return out;
}

std::string exit_items(const CommandSpec* spec) {
  std::string out;
  if (spec != nullptr) {
    for (const auto& [code, meaning] : spec->exit_codes)
      out += item(bold(std::to_string(code)), meaning);
  }
  for (const ExitMeaning& row : exit_table()) {
    const bool own_verb = row.meaning.starts_with("wait: ");
    if (spec == nullptr || !own_verb || spec->name == "wait")
      out += item(bold(row.code), row.meaning);
  }
  return out;
}

std::string items(std::span<const Item> list) {
  std::string out;
  for (const Item& entry : list) out += item(bold(entry.name), entry.text);
  return out;
}

std::string subcommand_sections(const CommandSpec& spec) {
  std::string out;
  for (const CommandSpec& sub : spec.subcommands) {
    const std::string path = spec.name + " " + sub.name;
    out +=
        ".SS \"" + escaped("mvmctl " + path) + "\"\n" + escaped(usage_line(sub, path)) + "\n.PP\n";
    out += paragraphs(sub.description.empty() ? sub.summary : sub.description);
    out += argument_items(sub) + option_items(sub.options);
  }
  return out.empty() ? out : heading("COMMANDS") + out;
}

std::string subcommand_examples(const CommandSpec& spec) {
  std::string out = example_items(spec);
  for (const CommandSpec& sub : spec.subcommands) out += example_items(sub);
  constexpr std::size_t kParagraph = 4;  // ".PP\n", which may not follow a heading
  return out.empty() ? out : heading("EXAMPLES") + out.substr(kParagraph);
}

}  // namespace

std::string man_overview(std::span<const VerbEntry> verbs) {
  std::string out = title("mvmctl") + heading("NAME") +
                    "mvmctl \\- build Linux images and boot them as local microVMs\n";
  out += heading("SYNOPSIS") + bold("mvmctl") + " " + italic("VERB") + " [" + italic("OPTION") +
         "...] [" + italic("ARGUMENT") + "...]\n";
  out += heading("DESCRIPTION") + paragraphs(
                                      "mvmctl builds Linux images from many sources, boots them as "
                                      "local microVMs and runs commands in them. One image "
                                      "boots on every backend. Every start says which backend runs "
                                      "the machine and how strong its isolation is.");
  std::string_view group;
  out += heading("VERBS");
  for (const VerbEntry& verb : verbs) {
    if (verb.group.empty()) continue;
    if (verb.group != group) out += ".SS \"" + escaped(verb.group) + "\"\n";
    group = verb.group;
    const std::string alias =
        verb.alias.empty() ? "" : ", " + bold("mvmctl " + std::string(verb.alias));
    out += item(bold("mvmctl " + std::string(verb.name)) + alias, verb.summary);
  }
  out += heading("OPTIONS") + "Every verb takes these.\n" + option_items(common_options());
  out += heading("\"EXIT STATUS\"") + exit_items(nullptr);
  out += heading("ENVIRONMENT") + items(kEnvironment) + heading("FILES") + items(kFiles);
  out += heading("\"SEE ALSO\"");
  std::string list;
  for (const VerbEntry& verb : verbs) {
    if (verb.group.empty()) continue;
    list += (list.empty() ? "" : ",\n") + bold("mvmctl-" + std::string(verb.name)) + "(1)";
  }
  return out + list + "\n";
}

std::string man_page(const CommandSpec& spec) {
  std::string out = title("mvmctl-" + spec.name) + heading("NAME");
  out += "mvmctl\\-" + escaped(spec.name) + " \\- " + escaped(spec.summary) + "\n";
  out += heading("SYNOPSIS") + escaped(usage_line(spec, spec.name)) + "\n";
  for (const std::string& alias : spec.aliases)
    out += ".PP\n" + escaped(usage_line(spec, alias)) + "\n";
  out += heading("DESCRIPTION") +
         paragraphs(spec.description.empty() ? spec.summary : spec.description);
  out += subcommand_sections(spec);
  const std::string arguments = argument_items(spec);
  if (!arguments.empty()) out += heading("ARGUMENTS") + arguments;
  out += heading("OPTIONS") + option_items(spec.options) + option_items(common_options());
  out += heading("\"EXIT STATUS\"") + exit_items(&spec) + subcommand_examples(spec);
  out += heading("ENVIRONMENT") + items(kEnvironment) + heading("FILES") + items(kFiles);
  return out + heading("\"SEE ALSO\"") + bold("mvmctl") + "(1)\n";
}

}  // namespace mvm::cli
