// SPDX-License-Identifier: Apache-2.0
#include "core/arguments.h"

#include <algorithm>
#include <charconv>

namespace mvm {
namespace {

Error wrong(std::string_view name, std::string_view why) {
  return Error(Errc::kInvalidArgument, std::string(name) + " " + std::string(why));
}

template <class Number>
bool read_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

// Puts a value into its place; false when it is not one of that kind.
struct Put {
  std::string_view text;

  bool operator()(bool* /*out*/) const { return false; }
  bool operator()(std::string* out) const {
    *out = text;
    return true;
  }
  bool operator()(std::optional<std::string>* out) const {
    out->emplace(text);
    return true;
  }
  bool operator()(std::vector<std::string>* out) const {
    out->emplace_back(text);
    return true;
  }
  template <class Number>
  bool operator()(std::vector<Number>* out) const {
    return read_number(text, out->emplace_back());
  }
  template <class Number>
  bool operator()(std::optional<Number>* out) const {
    return read_number(text, out->emplace());
  }
  template <class Number>
  bool operator()(Number* out) const {
    return read_number(text, *out);
  }
};

// Of the defaults that are worth a word.
struct Default {
  std::string operator()(const bool* /*value*/) const { return ""; }
  std::string operator()(const std::string* value) const { return *value; }
  template <class T>
  std::string operator()(const std::optional<T>* /*value*/) const {
    return "";
  }
  template <class T>
  std::string operator()(const std::vector<T>* /*value*/) const {
    return "";
  }
  template <class Number>
  std::string operator()(const Number* value) const {
    return *value > 0 ? std::to_string(*value) : "";
  }
};

bool repeats(const Arguments::Place& place) {
  return std::holds_alternative<std::vector<std::string>*>(place) ||
         std::holds_alternative<std::vector<int>*>(place);
}

}  // namespace

void Arguments::add(std::string_view name, Place place, std::string_view text) {
  if (options_.empty()) options_.reserve(32);
  options_.push_back({name, place, text});
}

Arguments::Option* Arguments::find(std::string_view name) {
  if (name == "-h") name = "--help";
  const auto it = std::ranges::find(options_, name, &Option::name);
  return it == options_.end() ? nullptr : &*it;
}

Result<> Arguments::parse(std::span<const char* const> words) {
  for (std::size_t at = 0; at < words.size(); ++at) {
    const std::string_view word = words[at];
    const std::size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    Option* option = word.starts_with('-') ? find(name) : nullptr;
    if (option == nullptr) return wrong(name, "is not an option of this program");
    if (option->given && !repeats(option->place)) return wrong(name, "is given twice");
    option->given = true;
    if (bool** flag = std::get_if<bool*>(&option->place)) {
      if (equals != std::string_view::npos) return wrong(name, "takes no value");
      **flag = true;
      continue;
    }
    std::string_view value = equals == std::string_view::npos ? "" : word.substr(equals + 1);
    if (equals == std::string_view::npos) {
      if (at + 1 == words.size() || std::string_view(words[at + 1]).starts_with("--"))
        return wrong(name, "needs a value");
      value = words[++at];
    }
    if (!std::visit(Put{value}, option->place))
      return wrong(name, "takes a number, not '" + std::string(value) + "'");
  }
  return {};
}

Result<> Arguments::require(std::initializer_list<std::string_view> names) const {
  for (const std::string_view name : names) {
    if (!given(name)) return wrong(name, "is required");
  }
  return {};
}

bool Arguments::given(std::string_view name) const {
  const auto it = std::ranges::find(options_, name, &Option::name);
  return it != options_.end() && it->given;
}

std::optional<std::string_view> Arguments::first_given(std::string_view prefix) const {
  const auto it = std::ranges::find_if(
      options_, [prefix](const Option& o) { return o.given && o.name.starts_with(prefix); });
  return it == options_.end() ? std::nullopt : std::optional(it->name);
}

std::string Arguments::help() const {
  std::size_t width = 0;
  const auto title = [](const Option& option) {
    const bool flag = std::holds_alternative<bool*>(option.place);
    return std::string(option.name) + (flag ? "" : repeats(option.place) ? " VALUE..." : " VALUE");
  };
  for (const Option& option : options_) width = std::max(width, title(option).size());
  std::string out(about_);
  out += "\n\n";
  for (const Option& option : options_) {
    std::string line = "  " + title(option);
    line.resize(width + 4, ' ');
    line += option.text;
    const std::string standard = std::visit(Default{}, option.place);
    if (!standard.empty()) line += " [" + standard + "]";
    out += line + "\n";
  }
  return out;
}

}  // namespace mvm
