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
                   const std::string& example, std::function<Json(const Value&)> write) {
  auto read = [parse, example](const TomlNode& node) -> Result<Value> {
    if (node.toml().is_number())
      return node.error("has no unit")
          .with_hint("write it as a text with one: \"" + example + "\"");
    const std::string text = MVM_TRY(read_text(node));
    auto value = parse(text);
    if (!value) return node.error(value.error());
    return value;
  };
  return {{{"type", "string"}, {"pattern", std::move(pattern)}}, std::move(read), std::move(write)};
}

template <class Value>
Json as_it_is(const Value& value) {
  return value;
}

constexpr int kDeepestJson = 32;

Result<toml::table> to_table(const Json& object, int depth, const std::string& file);
Result<toml::array> to_array(const Json& list, int depth, const std::string& file);

// Hands `put` the value as toml++ has it.
template <class Put>
Result<> convert(const Json& value, int depth, const std::string& file, const Put& put) {
  if (depth > kDeepestJson) return Error(Errc::kInvalidArgument, file + ": nests too deeply");
  if (value.is_object()) {
    put(MVM_TRY(to_table(value, depth + 1, file)));
  } else if (value.is_array()) {
    put(MVM_TRY(to_array(value, depth + 1, file)));
  } else if (value.is_string()) {
    put(value.get<std::string>());
  } else if (value.is_boolean()) {
    put(value.get<bool>());
  } else if (value.is_number_integer()) {
    put(value.get<std::int64_t>());
  } else if (value.is_number()) {
    put(value.get<double>());
  } else {
    return Error(Errc::kInvalidArgument, file + ": holds a null in a list");
  }
  return {};
}

Result<toml::table> to_table(const Json& object, int depth, const std::string& file) {
  toml::table out;
  for (const auto& [key, value] : object.items()) {
    if (value.is_null()) continue;  // as if it were not given
    const std::string& name = key;
    MVM_TRY(convert(value, depth, file, [&](auto&& converted) {
      out.insert_or_assign(name, std::forward<decltype(converted)>(converted));
    }));
  }
  return out;
}

Result<toml::array> to_array(const Json& list, int depth, const std::string& file) {
  toml::array out;
  for (const Json& item : list) {
    MVM_TRY(convert(item, depth, file, [&](auto&& converted) {
      out.push_back(std::forward<decltype(converted)>(converted));
    }));
  }
  return out;
}

}  // namespace

Error TomlNode::error(const std::string& message, const toml::source_region& where) const {
  const auto& at = where.begin;
  const std::string place =
      at.line == 0 ? "" : ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
  return {Errc::kInvalidArgument,
          file_ + place + ": " + (path_.empty() ? "" : path_ + ": ") + message};
}

Type<std::string> text() { return {{{"type", "string"}}, read_text, as_it_is<std::string>}; }

Type<std::string> text(std::string pattern, std::function<Result<>(const std::string&)> check) {
  auto read = [check = std::move(check)](const TomlNode& node) -> Result<std::string> {
    std::string value = MVM_TRY(read_text(node));
    if (auto good = check(value); !good) return node.error(good.error());
    return value;
  };
  return {{{"type", "string"}, {"pattern", std::move(pattern)}},
          std::move(read),
          as_it_is<std::string>};
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
  return {{{"type", "integer"}, {"minimum", least}, {"maximum", most}},
          std::move(read),
          as_it_is<std::uint32_t>};
}

Type<bool> flag() {
  auto read = [](const TomlNode& node) -> Result<bool> {
    const auto* value = node.toml().as_boolean();
    if (value == nullptr) return node.error("must be true or false");
    return value->get();
  };
  return {{{"type", "boolean"}}, std::move(read), as_it_is<bool>};
}

Type<Bytes> size() {
  return parsed<Bytes>("^[0-9]+([KMGT](i?B)?)?$", parse_size, "512M",
                       [](const Bytes& value) -> Json { return std::to_string(value.count); });
}

Type<Millis> duration() {
  return parsed<Millis>(
      "^[0-9]+(ms|s|m|h|d)?$", parse_duration, "30s",
      [](const Millis& value) -> Json { return std::to_string(value.count()) + "ms"; });
}

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

Result<toml::table> tables_from_json(std::string_view text, const std::string& file) {
  const Json document = Json::parse(text, nullptr, false);
  if (!document.is_object()) return Error(Errc::kInvalidArgument, file + ": is no JSON object");
  return to_table(document, 0, file);
}

}  // namespace mvm::spec
