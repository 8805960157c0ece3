// SPDX-License-Identifier: Apache-2.0
#include "spec/toml_types.h"

namespace mvm::spec {
namespace {

Result<std::string> read_text(const TomlNode& node) {
  const auto* value = node.toml().as_string();
  if (value == nullptr) return node.error("must be a text in quotes");
  for (const char c : value->get()) {
    if (c == '\0') return node.error("holds a zero byte");
  }
  return value->get();
}

// A text that `parse` understands.
template <class Value>
Type<Value> parsed(std::string pattern, Result<Value> (*parse)(std::string_view),
                   const std::string& example) {
  auto read = [parse, example](const TomlNode& node) -> Result<Value> {
    if (node.toml().is_number())
      return node.error("has no unit")
          .with_hint("write it as a text with one: \"" + example + "\"");
    const std::string text = MVM_TRY(read_text(node));
    auto value = parse(text);
    if (!value) return node.error(value.error());
    return value;
  };
  return {{{"type", "string"}, {"pattern", std::move(pattern)}}, std::move(read)};
}

}  // namespace

Type<std::string> text() { return {{{"type", "string"}}, read_text}; }

Type<std::string> text(std::string pattern, std::function<Result<>(const std::string&)> check) {
  auto read = [check = std::move(check)](const TomlNode& node) -> Result<std::string> {
    std::string value = MVM_TRY(read_text(node));
    if (auto good = check(value); !good) return node.error(good.error());
    return value;
  };
  return {{{"type", "string"}, {"pattern", std::move(pattern)}}, std::move(read)};
}

Type<std::uint32_t> number(std::uint32_t least, std::uint32_t most) {
  auto read = [least, most](const TomlNode& node) -> Result<std::uint32_t> {
    const auto* value = node.toml().as_integer();
    if (value == nullptr) return node.error("must be a whole number");
    if (value->get() < least || value->get() > most)
      return node.error(std::to_string(value->get()) + " is not between " + std::to_string(least) +
                        " and " + std::to_string(most));
    return static_cast<std::uint32_t>(value->get());
  };
  return {{{"type", "integer"}, {"minimum", least}, {"maximum", most}}, std::move(read)};
}

Type<bool> flag() {
  auto read = [](const TomlNode& node) -> Result<bool> {
    const auto* value = node.toml().as_boolean();
    if (value == nullptr) return node.error("must be true or false");
    return value->get();
  };
  return {{{"type", "boolean"}}, std::move(read)};
}

Type<Bytes> size() { return parsed<Bytes>("^[0-9]+([KMGT](i?B)?)?$", parse_size, "512M"); }

Type<Millis> duration() { return parsed<Millis>("^[0-9]+(ms|s|m|h|d)?$", parse_duration, "30s"); }

Error unknown_key(const TomlNode& table, const toml::key& key, std::vector<std::string> known) {
  const std::string name(key.str());
  std::string words;
  const std::vector<std::string> near = nearest(name, known);
  for (const std::string& word : near.empty() ? known : near)
    words += (words.empty() ? "" : near.empty() ? ", " : " or ") + word;
  return table.error("there is no key '" + name + "'", key.source())
      .with_hint((near.empty() ? "choose one of " : "did you mean ") + words +
                 (near.empty() ? "" : "?"));
}

Result<toml::table> parse_toml(std::string_view text, const std::string& file) {
  std::size_t line = 1;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80)
      return Error(Errc::kInvalidArgument,
                   file + ":" + std::to_string(line) + ": only ASCII characters are allowed");
    if (c == '\n') ++line;
  }
  toml::parse_result parsed = toml::parse(text);
  if (parsed) return std::move(parsed).table();
  const auto& at = parsed.error().source().begin;
  return Error(Errc::kInvalidArgument, file + ":" + std::to_string(at.line) + ":" +
                                           std::to_string(at.column) + ": " +
                                           std::string(parsed.error().description()));
}

}  // namespace mvm::spec
