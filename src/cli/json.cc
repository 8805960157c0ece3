// SPDX-License-Identifier: Apache-2.0
#include "cli/json.h"

#include <nlohmann/json.hpp>

namespace mvm::cli {

struct Json::Impl {
  nlohmann::ordered_json value;
};

Json Json::object() {
  Json out;
  out.impl_->value = nlohmann::ordered_json::object();
  return out;
}

Json Json::array() {
  Json out;
  out.impl_->value = nlohmann::ordered_json::array();
  return out;
}

Result<Json> Json::parse(std::string_view text) {
  Json out;
  out.impl_->value = nlohmann::ordered_json::parse(text, nullptr, false);
  if (out.impl_->value.is_discarded()) {
    return Error(Errc::kCorrupt, "'" + std::string(text.substr(0, 60)) + "' is not JSON");
  }
  return out;
}

Json::Json() : impl_(std::make_unique<Impl>()) {}
Json::Json(std::string_view text) : Json() { impl_->value = std::string(text); }
Json::Json(double number) : Json() { impl_->value = number; }
Json::Json(const std::vector<std::string>& items) : Json() { impl_->value = items; }
Json::Json(Flag flag) : Json() { impl_->value = flag.value; }
Json::Json(Signed number) : Json() { impl_->value = number.value; }
Json::Json(Unsigned number) : Json() { impl_->value = number.value; }

Json::Json(const Json& other) : impl_(std::make_unique<Impl>(*other.impl_)) {}
Json::Json(Json&& other) noexcept = default;
Json& Json::operator=(Json other) noexcept {
  impl_.swap(other.impl_);
  return *this;
}
Json::~Json() = default;

Json& Json::set(std::string_view key, const Json& value) & {
  if (!impl_->value.is_object()) impl_->value = nlohmann::ordered_json::object();
  impl_->value[std::string(key)] = value.impl_->value;
  return *this;
}

Json&& Json::set(std::string_view key, const Json& value) && { return std::move(set(key, value)); }

Json& Json::add(const Json& value) & {
  if (!impl_->value.is_array()) impl_->value = nlohmann::ordered_json::array();
  impl_->value.push_back(value.impl_->value);
  return *this;
}

Json&& Json::add(const Json& value) && { return std::move(add(value)); }

Json& Json::merge(const Json& members) & {
  if (!members.impl_->value.is_object()) return *this;
  if (!impl_->value.is_object()) impl_->value = nlohmann::ordered_json::object();
  for (const auto& [key, value] : members.impl_->value.items()) impl_->value[key] = value;
  return *this;
}

bool Json::has(std::string_view key) const {
  return impl_->value.is_object() && impl_->value.contains(std::string(key));
}

std::string Json::dump(int indent) const {
  return impl_->value.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace mvm::cli
