// SPDX-License-Identifier: Apache-2.0
// Types of a TOML document, written down once: how a value is read into C++ and written as JSON,
// and what a JSON Schema and a reference say of it.
//
//   Type<Resources> type = table<Resources>({
//       field("memory", &Resources::memory, size(), "memory of the machine"),
//   });
//
// A value that does not fit is an error with file, line, column and the path of keys; a key that is
// not in its table, with the nearest that is. What was read and what is written are the same: read
// again, JSON gives an equal value.
#pragma once

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/nearest.h"
#include "core/result.h"
#include "core/units.h"

namespace mvm::spec {

using Json = nlohmann::ordered_json;

// A value and where it stands.
class TomlNode {
 public:
  TomlNode(const toml::node& node, std::string file, std::string path)
      : node_(&node), file_(std::move(file)), path_(std::move(path)) {}

  const toml::node& toml() const { return *node_; }
  const std::string& path() const { return path_; }
  TomlNode at(std::string_view key, const toml::node& value) const {
    return {value, file_, (path_.empty() ? "" : path_ + ".") + std::string(key)};
  }
  TomlNode at(std::size_t index, const toml::node& value) const {
    return {value, file_, path_ + "[" + std::to_string(index) + "]"};
  }
  // kInvalidArgument: "FILE:LINE:COLUMN: PATH: message"; JSON has no lines.
  Error error(const std::string& message) const { return error(message, node_->source()); }
  Error error(const std::string& message, const toml::source_region& where) const;
  // The same of a value that somebody else has refused; its hint stays.
  Error error(const Error& cause) const {
    return error(cause.text()).with_hint(std::string(cause.hint()));
  }

 private:
  const toml::node* node_;
  std::string file_;
  std::string path_;
};

// Types are copied into one another when they are made. A closure holds of another type what it
// calls and no more: with all of it in both closures of each level, making one of many levels took
// 30 ms.
template <class Value>
struct Type {
  Json schema;  // JSON Schema of the value
  std::function<Result<Value>(const TomlNode&)> read;
  std::function<Json(const Value&)> write;
};

Type<std::string> text();
// A text that `check` accepts; `pattern` says the same to a JSON Schema.
Type<std::string> text(std::string pattern, std::function<Result<>(const std::string&)> check);
Type<std::uint32_t> number(std::uint32_t least,
                           std::uint32_t most = std::numeric_limits<std::uint32_t>::max());
Type<bool> flag();
Type<Bytes> size();
Type<Millis> duration();

// One of a few words.
template <class Value>
Type<Value> choice(const std::vector<std::pair<std::string, Value>>& words) {
  Json names = Json::array();
  for (const auto& [word, value] : words) names.push_back(word);
  auto read = [words](const TomlNode& node) -> Result<Value> {
    const std::string given = MVM_TRY(text().read(node));
    for (const auto& [word, value] : words) {
      if (word == given) return value;
    }
    std::string all;
    for (const auto& [word, value] : words) all += (all.empty() ? "" : ", ") + word;
    return node.error("'" + given + "' is none of " + all);
  };
  auto write = [words](const Value& value) -> Json {
    for (const auto& [word, meant] : words) {
      if (meant == value) return word;
    }
    return nullptr;
  };
  return {{{"enum", names}}, std::move(read), std::move(write)};
}

template <class Value>
Type<std::vector<Value>> list(Type<Value> item) {
  Json schema = {{"type", "array"}, {"items", item.schema}};
  auto read = [read_item = item.read](const TomlNode& node) -> Result<std::vector<Value>> {
    const toml::array* array = node.toml().as_array();
    if (array == nullptr) return node.error("must be a list");
    std::vector<Value> out;
    for (const toml::node& element : *array)
      out.push_back(MVM_TRY(read_item(node.at(out.size(), element))));
    return out;
  };
  auto write = [write_item = item.write](const std::vector<Value>& values) {
    Json out = Json::array();
    for (const Value& value : values) out.push_back(write_item(value));
    return out;
  };
  return {std::move(schema), std::move(read), std::move(write)};
}

// A table whose keys are names of the user's, sorted.
template <class Value>
using Named = std::vector<std::pair<std::string, Value>>;

template <class Value>
Type<Named<Value>> named(Type<Value> value, const Type<std::string>& name = text()) {
  Json schema = {{"type", "object"}, {"additionalProperties", value.schema}};
  if (name.schema.contains("pattern")) schema["propertyNames"] = name.schema;
  auto read = [read_value = value.read,
               read_name = name.read](const TomlNode& node) -> Result<Named<Value>> {
    const toml::table* table = node.toml().as_table();
    if (table == nullptr) return node.error("must be a table");
    Named<Value> out;
    for (const auto& [key, entry] : *table) {
      const TomlNode inner = node.at(key.str(), entry);
      const toml::value<std::string> as_text{std::string(key.str())};
      if (auto good = read_name(TomlNode(as_text, "", "")); !good)
        return inner.error("'" + std::string(key.str()) + "' is no name for it", key.source())
            .with_hint(std::string(good.error().hint()));
      out.emplace_back(std::string(key.str()), MVM_TRY(read_value(inner)));
    }
    return out;
  };
  auto write = [write_value = value.write](const Named<Value>& entries) {
    Json out = Json::object();
    for (const auto& [key, entry] : entries) out[key] = write_value(entry);
    return out;
  };
  return {std::move(schema), std::move(read), std::move(write)};
}

// A key of a table.
template <class Table>
struct Field {
  std::string name;
  Json schema;  // with its description
  std::function<Result<>(Table&, const TomlNode&)> read;
  std::function<Json(const Table&)> write;  // null: as if it were not given
  bool required = false;
};

namespace toml_types {
template <class Member>
struct Held {
  using Value = Member;
};
template <class Inner>
struct Held<std::optional<Inner>> {
  using Value = Inner;
};
}  // namespace toml_types

enum class Need { kOptional, kRequired };

template <class Table, class Member>
Field<Table> field(std::string name, Member Table::* member,
                   const Type<typename toml_types::Held<Member>::Value>& type, std::string meaning,
                   Need need = Need::kOptional) {
  Json schema = type.schema;
  schema["description"] = std::move(meaning);
  auto read = [member, read_member = type.read](Table& to, const TomlNode& node) -> Result<> {
    to.*member = MVM_TRY(read_member(node));
    return {};
  };
  auto write = [member, write_member = type.write](const Table& from) -> Json {
    if constexpr (requires { (from.*member).has_value(); }) {
      return (from.*member).has_value() ? write_member(*(from.*member)) : Json();
    } else {
      Json value = write_member(from.*member);
      return value == write_member(Table{}.*member) ? Json() : value;
    }
  };
  return {std::move(name), std::move(schema), std::move(read), std::move(write),
          need == Need::kRequired};
}

// What is wrong with a key that its table does not have.
Error unknown_key(const TomlNode& table, const toml::key& key, std::vector<std::string> known);

// A table of the given keys and no other. `check` sees the whole.
template <class Table>
Type<Table> table(const std::vector<Field<Table>>& fields,
                  const std::function<Result<>(const Table&, const TomlNode&)>& check = {}) {
  Json schema = {{"type", "object"}, {"properties", Json::object()}};
  Json required = Json::array();
  for (const Field<Table>& f : fields) {
    schema["properties"][f.name] = f.schema;
    if (f.required) required.push_back(f.name);
  }
  if (!required.empty()) schema["required"] = required;
  schema["additionalProperties"] = false;
  struct Reader {
    std::string name;
    std::function<Result<>(Table&, const TomlNode&)> read;
    bool required;
  };
  std::vector<Reader> readers;
  std::vector<std::pair<std::string, std::function<Json(const Table&)>>> writers;
  for (const Field<Table>& f : fields) {
    readers.push_back({f.name, f.read, f.required});
    writers.emplace_back(f.name, f.write);
  }
  auto read = [readers = std::move(readers), check](const TomlNode& node) -> Result<Table> {
    const toml::table* given = node.toml().as_table();
    if (given == nullptr) return node.error("must be a table");
    std::vector<std::string> known;
    for (const Reader& f : readers) known.push_back(f.name);
    for (const auto& [key, value] : *given) {
      if (std::ranges::find(known, key.str()) == known.end())
        return unknown_key(node, key, std::move(known));
    }
    Table out{};
    for (const Reader& f : readers) {
      if (const toml::node* value = given->get(f.name))
        MVM_TRY(f.read(out, node.at(f.name, *value)));
      else if (f.required)
        return node.error("'" + f.name + "' is missing");
    }
    if (check) MVM_TRY(check(out, node));
    return out;
  };
  auto write = [writers = std::move(writers)](const Table& from) {
    Json out = Json::object();
    for (const auto& [name, write_field] : writers) {
      if (Json value = write_field(from); !value.is_null()) out[name] = std::move(value);
    }
    return out;
  };
  return {std::move(schema), std::move(read), std::move(write)};
}

// A document's tables. Only ASCII: toml++ 3.3 loses its way in some letters beyond it (its issues
// 190, 295), and no setting needs more. Errors: kInvalidArgument with line and column.
Result<toml::table> parse_toml(std::string_view text, const std::string& file);

// The same of a JSON object, which may hold any text. Errors: kInvalidArgument naming the file.
Result<toml::table> tables_from_json(std::string_view text, const std::string& file);

template <class Table>
Result<Table> read_document(const Type<Table>& type, std::string_view text,
                            const std::string& file) {
  const toml::table document = MVM_TRY(parse_toml(text, file));
  return type.read(TomlNode(document, file, ""));
}

template <class Table>
Result<Table> read_json(const Type<Table>& type, std::string_view text, const std::string& file) {
  const toml::table document = MVM_TRY(tables_from_json(text, file));
  return type.read(TomlNode(document, file, ""));
}

}  // namespace mvm::spec
