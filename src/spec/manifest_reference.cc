// SPDX-License-Identifier: Apache-2.0
#include "spec/manifest_reference.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "spec/manifest.h"

namespace mvm::spec {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kHead =
    "<!-- SPDX-License-Identifier: Apache-2.0 -->\n"
    "# mvm.toml\n\n"
    "Written by `mvmctl validate --reference` from the definition that the parser reads by; as "
    "JSON "
    "Schema:\n`mvmctl validate --schema`. What the keys are for, with examples: [build a "
    "project](../howto/build-a-project.md).\n";

// What a text has to look like, in words. One that is not here is a text.
std::string_view words_of(std::string_view pattern) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kWords = {
      {{"^/", "absolute path"},
       {"^[^/]", "path in the project"},
       {"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "name"},
       {"^[0-9]+([KMGT](i?B)?)?$", "size: `512M`"},
       {"^[0-9]+(ms|s|m|h|d)?$", "time: `10s`"},
       {"^:[0-9]+/", "`:PORT/PATH`"},
       {"^[0-7]{3,4}$", "octal mode: `\"0644\"`"},
       {"^[A-Z0-9]+$", "signal: `TERM`"}}};
  const auto* const found =
      std::ranges::find(kWords, pattern, &std::pair<std::string_view, std::string_view>::first);
  return found == kWords.end() ? "text" : found->second;
}

std::string type_of(const Json& schema) {
  if (schema.contains("enum")) {
    std::string out;
    for (const Json& value : schema["enum"])
      out += (out.empty() ? "`" : ", `") + value.get<std::string>() + "`";
    return out;
  }
  if (schema.contains("oneOf")) {
    std::string out;
    for (const Json& one : schema["oneOf"]) out += (out.empty() ? "" : " or ") + type_of(one);
    return out;
  }
  const std::string type = schema.value("type", "");
  if (type == "string") return std::string(words_of(schema.value("pattern", "")));
  if (type == "boolean") return "`true`, `false`";
  if (type == "integer")
    return std::to_string(schema.value("minimum", 0)) + " to " +
           std::to_string(schema.value("maximum", 0));
  if (type == "array")
    return schema["items"].contains("properties") ? "tables" : "list: " + type_of(schema["items"]);
  const Json inner = schema.value("additionalProperties", Json());
  if (!inner.is_object()) return "table";
  return inner.contains("properties") ? "tables by name" : "table of texts";
}

// The table that a key holds, if it holds tables of keys of their own, and how its header is
// written.
std::pair<const Json*, std::string> table_in(const Json& schema, const std::string& path) {
  if (schema.contains("properties")) return {&schema, "[" + path + "]"};
  if (schema.value("type", "") == "array" && schema["items"].contains("properties"))
    return {&schema["items"], "[[" + path + "]]"};
  const auto inner = schema.find("additionalProperties");
  if (inner != schema.end() && inner->is_object() && inner->contains("properties"))
    return {&*inner, "[" + path + ".NAME]"};
  return {nullptr, ""};
}

// `path` is of its keys: "services.NAME", or empty at the top.
void write_table(const Json& schema, const std::string& path, std::string& out) {
  out += "\n| key | value | is |\n|---|---|---|\n";
  const Json needed = schema.value("required", Json::array());
  for (const auto& [key, value] : schema["properties"].items()) {
    const bool is_needed = std::ranges::find(needed, Json(key)) != needed.end();
    out += "| `" + key + (is_needed ? "`, needed" : "`") + " | " + type_of(value) + " | " +
           value.value("description", "") + " |\n";
  }
  for (const auto& [key, value] : schema["properties"].items()) {
    const auto [table, header] = table_in(value, path.empty() ? key : path + "." + key);
    if (table == nullptr) continue;
    out += "\n## `" + header + "`\n";
    std::string inner = header;
    std::erase_if(inner, [](char c) { return c == '[' || c == ']'; });
    write_table(*table, inner, out);
  }
}

}  // namespace

std::string manifest_reference() {
  std::string out(kHead);
  write_table(Json::parse(manifest_schema()), "", out);
  return out;
}

}  // namespace mvm::spec
