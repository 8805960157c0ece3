// SPDX-License-Identifier: Apache-2.0
#include "cli/parser.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <charconv>
#include <list>

#include "cli/help.h"
#include "core/nearest.h"

namespace mvm::cli {
namespace {

using Words = std::vector<std::string>;

Error usage_error(std::string message, std::string hint) {
  return Error(Errc::kInvalidArgument, std::move(message)).with_hint(std::move(hint));
}

std::string see_help(std::string_view path) {
  return "see 'mvmctl help " + std::string(path) + "'";
}

Result<std::uint32_t> parse_number(const std::string& text) {
  std::uint32_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, ec] = std::from_chars(text.data(), end, number);
  if (ec == std::errc::result_out_of_range) {
    return usage_error("'" + text + "' is too large", "the largest number is 4294967295");
  }
  if (ec != std::errc() || stop != end) {
    return usage_error("'" + text + "' is not a number", "write digits only, as in 4");
  }
  return number;
}

// Stores the values of one option or positional; `values` is not empty.
struct Store {
  const Words& values;
  const std::string& last = values.back();

  Result<> operator()(std::monostate) const { return {}; }
  Result<> operator()(bool* flag) const { return *flag = last == "true", Result<>(); }
  Result<> operator()(std::string* text) const { return *text = last, Result<>(); }
  Result<> operator()(Words* list) const { return *list = values, Result<>(); }
  Result<> operator()(std::optional<std::string>* text) const { return *text = last, Result<>(); }
  Result<> operator()(std::uint32_t* out) const {
    return *out = MVM_TRY(parse_number(last)), Result<>();
  }
  Result<> operator()(std::optional<std::uint32_t>* out) const {
    return *out = MVM_TRY(parse_number(last)), Result<>();
  }
  Result<> operator()(Bytes* out) const { return *out = MVM_TRY(parse_size(last)), Result<>(); }
  Result<> operator()(std::optional<Bytes>* out) const {
    return *out = MVM_TRY(parse_size(last)), Result<>();
  }
  Result<> operator()(Millis* out) const {
    return *out = MVM_TRY(parse_duration(last)), Result<>();
  }
  Result<> operator()(std::optional<Millis>* out) const {
    return *out = MVM_TRY(parse_duration(last)), Result<>();
  }
};

std::string joined(std::span<const std::string> words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

Result<> store(const Target& target, const Words& values, const Words& choices) {
  for (const std::string& value : values) {
    if (choices.empty() || std::ranges::find(choices, value) != choices.end()) continue;
    return usage_error("'" + value + "' is not one of the choices",
                       "choose one of: " + joined(choices));
  }
  return std::visit(Store{values}, target);
}

// "-e,--env" → "--env"
std::string long_name(const Option& option) {
  return option.names.substr(option.names.rfind(',') + 1);
}

// Calls into CLI11, which throws; nothing of it leaves this class.
class Tokens {
 public:
  void declare(const Option& option) {
    Slot& slot = slots_.emplace_back(Slot{&option, {}, false});
    const bool is_flag = std::holds_alternative<bool*>(option.target) || option.value_name.empty();
    if (is_flag) {
      app_.add_flag(option.names, slot.flag)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    } else {
      app_.add_option(option.names, slot.values)
          ->expected(1)
          ->allow_extra_args(false)
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    }
  }

  // Splits the words into options and the rest. Errors: an option without its value.
  Result<> split(Words args) {
    std::ranges::reverse(args);  // CLI11 takes them from the back
    app_.set_help_flag();
    app_.allow_extras();
    try {
      app_.parse(std::move(args));
      rest_ = app_.remaining();
    } catch (const CLI::ArgumentMismatch& mismatch) {
      const std::string text = mismatch.what();
      return Error(Errc::kInvalidArgument,
                   "option " + text.substr(0, text.find(':')) + " needs a value");
    } catch (const CLI::Error& error) {
      return Error(Errc::kInvalidArgument, error.what());
    }
    return {};
  }

  struct Slot {
    const Option* option;
    Words values;
    bool flag;
  };
  // The given options, flags as "true".
  std::list<Slot>& slots() { return slots_; }
  const Words& rest() const { return rest_; }

 private:
  CLI::App app_;
  std::list<Slot> slots_;  // stable addresses: CLI11 keeps references
  Words rest_;
};

bool looks_like_option(const std::string& word) { return word.size() > 1 && word.front() == '-'; }

Error unknown_option(const CommandSpec& spec, std::string_view path, const std::string& word) {
  Words known;
  for (const Option& option : spec.options) {
    if (!option.hidden) known.push_back(long_name(option));
  }
  for (const Option& option : common_options()) known.push_back(long_name(option));
  const std::string name = word.substr(0, word.find('='));
  const Words near = nearest(name, known);
  const std::string guess = near.empty() ? "" : "did you mean " + joined(near) + "? ";
  const std::string dashes =
      spec.guest_command.target != nullptr ? "; options of the guest's command go after --" : "";
  return usage_error("unknown option " + name, guess + see_help(path) + dashes);
}

// The share of `left` words that a positional gets, with `reserved` words kept for those after it.
std::size_t share(const Positional& positional, std::size_t left, std::size_t reserved) {
  const std::size_t free = left > reserved ? left - reserved : 0;
  const bool repeated = std::holds_alternative<Words*>(positional.target);
  return repeated ? free : std::min<std::size_t>(free, 1);
}

Result<> take_positionals(const CommandSpec& spec, std::string_view path,
                          std::span<const std::string> words) {
  std::vector<std::string> required;
  for (const Positional& positional : spec.positionals) {
    if (positional.required) required.push_back(positional.name);
  }
  if (words.size() < required.size()) {
    return usage_error("missing argument " + required[words.size()],
                       "usage: " + usage_line(spec, path));
  }
  std::size_t reserved = required.size();
  for (const Positional& positional : spec.positionals) {
    if (positional.required) --reserved;
    const std::size_t count = share(positional, words.size(), reserved);
    if (count == 0) continue;
    const Words values(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(count));
    MVM_TRY_CTX(store(positional.target, values, positional.choices), positional.name);
    words = words.subspan(count);
  }
  if (words.empty()) return {};
  const std::string advice =
      spec.guest_command.target != nullptr ? "put -- before the guest's command; " : "";
  return usage_error("unexpected argument '" + words.front() + "'",
                     advice + "usage: " + usage_line(spec, path));
}

Result<> take_options(const CommandSpec& spec, std::string_view path, Tokens& tokens) {
  for (auto& slot : tokens.slots()) {
    if (slot.flag) slot.values = {"true"};
    if (!slot.values.empty()) {
      MVM_TRY_CTX(store(slot.option->target, slot.values, slot.option->choices),
                  long_name(*slot.option));
    } else if (slot.option->required) {
      return usage_error("option " + long_name(*slot.option) + " is required",
                         "usage: " + usage_line(spec, path));
    }
  }
  return {};
}

Result<> take_guest_command(const CommandSpec& spec, std::string_view path, Words command) {
  if (spec.guest_command.target == nullptr) return {};
  if (command.empty() && spec.guest_command.required) {
    return usage_error("missing the guest's command", "usage: " + usage_line(spec, path));
  }
  *spec.guest_command.target = std::move(command);
  return {};
}

}  // namespace

Result<Parsed> parse(const CommandSpec& spec, std::string_view path,
                     std::span<const std::string> args, Context& context) {
  const auto dashes = std::ranges::find(args, "--");
  const Words before(args.begin(), dashes);
  const Words after(dashes == args.end() ? dashes : dashes + 1, args.end());
  for (const std::string& word : before) {
    if (word == "-h" || word == "--help") return Parsed::kHelp;
  }

  Tokens tokens;
  const std::vector<Option> common = {{.names = "--json", .target = &context.json},
                                      {.names = "-q,--quiet", .target = &context.quiet},
                                      {.names = "-v,--verbose", .target = &context.verbose}};
  for (const Option& option : spec.options) tokens.declare(option);
  for (const Option& option : common) tokens.declare(option);
  auto split = tokens.split(before);
  if (!split) return std::move(split.error()).with_hint(see_help(path));

  Words positionals;
  for (const std::string& word : tokens.rest()) {
    if (looks_like_option(word)) return unknown_option(spec, path, word);
    positionals.push_back(word);
  }
  // Without a guest command, "--" only says that no option follows.
  if (spec.guest_command.target == nullptr)
    positionals.insert(positionals.end(), after.begin(), after.end());
  MVM_TRY(take_options(spec, path, tokens));
  MVM_TRY(take_positionals(spec, path, positionals));
  MVM_TRY(take_guest_command(spec, path, after));
  return Parsed::kRun;
}

}  // namespace mvm::cli
