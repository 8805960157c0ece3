// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/fields.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace mvm::vmm {
namespace {

using Json = nlohmann::json;

const Json& as_json(const void* value) { return *static_cast<const Json*>(value); }

std::string ticked(std::string_view name) { return "`" + std::string(name) + "`"; }

// Watches a parse for keys that come twice and for nesting.
class StructureCheck {
 public:
  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    if (problem_) return true;
    switch (event) {
      case Json::parse_event_t::object_start:
        keys_.emplace_back();
        [[fallthrough]];
      case Json::parse_event_t::array_start:
        if (depth >= kMaxJsonDepth)
          problem_ = "nested deeper than " + std::to_string(kMaxJsonDepth) + " levels";
        return !problem_;
      case Json::parse_event_t::object_end:
        keys_.pop_back();
        return true;
      case Json::parse_event_t::key:
        if (!keys_.back().insert(parsed.get<std::string>()).second)
          problem_ = "duplicate field " + ticked(parsed.get<std::string>());
        return true;
      default:
        return true;
    }
  }
  const std::optional<std::string>& problem() const { return problem_; }

 private:
  std::vector<std::set<std::string>> keys_;
  std::optional<std::string> problem_;
};

// Where and why, without the text itself: it may be a secret of the guest's, and this is logged.
std::string cause(const Json::exception& error) {
  std::string_view what = error.what();
  // "[json.exception.parse_error.101] parse error at line 1, column 2: …; last read: '…'"
  if (const std::size_t end = what.find("] "); end != std::string_view::npos)
    what.remove_prefix(end + 2);
  return std::string(what.substr(0, what.find("; last read:")));
}

Result<Json> parse_object(std::string_view text) {
  // The library would skip it (RFC 8259, 8.1 allows both).
  if (text.starts_with("\xef\xbb\xbf"))
    return Error(Errc::kInvalidArgument, "parse error at line 1, column 1: a byte order mark");
  StructureCheck check;
  Json value;
  try {
    value = Json::parse(text, std::ref(check));
  } catch (const Json::exception& error) {
    return Error(Errc::kInvalidArgument, check.problem().value_or(cause(error)));
  }
  if (check.problem()) return Error(Errc::kInvalidArgument, *check.problem());
  if (!value.is_object())
    return Error(Errc::kInvalidArgument,
                 std::string("invalid type: ") + value.type_name() + ", expected object");
  return value;
}

}  // namespace

struct Fields::Document {
  Json root;
  std::optional<Error> error;
};

Fields::Fields(std::shared_ptr<Document> document, const void* object)
    : document_(std::move(document)), object_(object) {}
Fields::Fields(Fields&&) noexcept = default;
Fields& Fields::operator=(Fields&&) noexcept = default;
Fields::~Fields() = default;

Result<Fields> Fields::parse(std::string_view text) {
  auto document = std::make_shared<Document>();
  document->root = MVM_TRY(parse_object(text));
  const void* root = &document->root;
  return Fields(std::move(document), root);
}

// The value of a field that is there; absence is an error where the field is required.
const void* Fields::find(std::string_view name, Need need) {
  known_.emplace(name);
  if (document_->error) return nullptr;
  const Json& object = as_json(object_);
  const auto it = object.find(std::string(name));
  if (it == object.end()) {
    if (need == Need::kRequired)
      fail(Error(Errc::kInvalidArgument, "missing field " + ticked(name)));
    return nullptr;
  }
  if (it->is_null() && need == Need::kOptional) return nullptr;
  return &*it;
}

void Fields::wrong_type(std::string_view name, const void* value, std::string_view expected) {
  fail(Error(Errc::kInvalidArgument, "invalid type of field " + ticked(name) + ": " +
                                         as_json(value).type_name() + ", expected " +
                                         std::string(expected)));
}

std::optional<std::string> Fields::text(std::string_view name, Need need) {
  const void* value = find(name, need);
  if (value == nullptr) return std::nullopt;
  if (as_json(value).is_string()) return as_json(value).get<std::string>();
  wrong_type(name, value, "a string");
  return std::nullopt;
}

std::optional<bool> Fields::boolean(std::string_view name, Need need) {
  const void* value = find(name, need);
  if (value == nullptr) return std::nullopt;
  if (as_json(value).is_boolean()) return as_json(value).get<bool>();
  wrong_type(name, value, "a boolean");
  return std::nullopt;
}

std::optional<std::uint64_t> Fields::number(std::string_view name, std::uint64_t most, Need need) {
  const void* value = find(name, need);
  if (value == nullptr) return std::nullopt;
  const Json& json = as_json(value);
  const std::string range = "a whole number from 0 to " + std::to_string(most);
  if (json.is_number_unsigned() && json.get<std::uint64_t>() <= most)
    return json.get<std::uint64_t>();
  if (json.is_number())
    fail(Error(Errc::kInvalidArgument, "invalid value of field " + ticked(name) + ": " +
                                           json.dump() + ", expected " + range));
  else
    wrong_type(name, value, range);
  return std::nullopt;
}

std::optional<std::vector<std::string>> Fields::texts(std::string_view name, Need need) {
  const void* value = find(name, need);
  if (value == nullptr) return std::nullopt;
  const Json& json = as_json(value);
  if (json.is_array() &&
      std::all_of(json.begin(), json.end(), [](const Json& item) { return item.is_string(); }))
    return json.get<std::vector<std::string>>();
  wrong_type(name, value, "an array of strings");
  return std::nullopt;
}

std::optional<std::map<std::string, std::string>> Fields::text_map(std::string_view name,
                                                                   Need need) {
  const void* value = find(name, need);
  if (value == nullptr) return std::nullopt;
  const Json& json = as_json(value);
  if (json.is_object() &&
      std::all_of(json.begin(), json.end(), [](const Json& item) { return item.is_string(); }))
    return json.get<std::map<std::string, std::string>>();
  wrong_type(name, value, "an object of strings");
  return std::nullopt;
}

std::optional<std::size_t> Fields::choice(std::string_view name,
                                          std::span<const std::string_view> choices, Need need) {
  const std::optional<std::string> value = text(name, need);
  if (!value) return std::nullopt;
  const auto it = std::find(choices.begin(), choices.end(), *value);
  if (it != choices.end()) return static_cast<std::size_t>(it - choices.begin());
  std::string all;
  for (const std::string_view each : choices) all += (all.empty() ? "" : ", ") + ticked(each);
  fail(Error(Errc::kInvalidArgument, "unknown variant " + ticked(*value) + " of field " +
                                         ticked(name) + ", expected one of " + all));
  return std::nullopt;
}

std::optional<Fields> Fields::object(std::string_view name, Need need) {
  const void* value = find(name, need);
  if (value == nullptr) return std::nullopt;
  if (as_json(value).is_object()) return Fields(document_, value);
  wrong_type(name, value, "an object");
  return std::nullopt;
}

std::vector<Fields> Fields::objects(std::string_view name, Need need) {
  std::vector<Fields> out;
  const void* value = find(name, need);
  if (value == nullptr) return out;
  const Json& json = as_json(value);
  if (!json.is_array() ||
      !std::all_of(json.begin(), json.end(), [](const Json& item) { return item.is_object(); })) {
    wrong_type(name, value, "an array of objects");
    return out;
  }
  for (const Json& item : json) out.push_back(Fields(document_, &item));
  return out;
}

bool Fields::has(std::string_view name) const {
  const auto it = as_json(object_).find(std::string(name));
  return it != as_json(object_).end() && !it->is_null();
}

std::size_t Fields::size() const { return as_json(object_).size(); }

void Fields::fail(Error error) {
  if (!document_->error) document_->error = std::move(error);
}

Result<> Fields::finish() {
  for (const auto& [name, value] : as_json(object_).items()) {
    if (known_.contains(name)) continue;
    std::string expected;
    for (const std::string& each : known_)
      expected += (expected.empty() ? "" : ", ") + ticked(each);
    fail(Error(Errc::kInvalidArgument,
               "unknown field " + ticked(name) +
                   (expected.empty() ? ", there are no fields" : ", expected one of " + expected)));
  }
  if (document_->error) return *document_->error;
  return {};
}

Result<std::string> normalized_object(std::string_view text) {
  const Json value = MVM_TRY(parse_object(text));
  return value.dump();
}

}  // namespace mvm::vmm
