// SPDX-License-Identifier: Apache-2.0
// JSON values for output, built in the order in which they are to appear.
//
//   Json::object().set("name", vm.name).set("memory_bytes", vm.memory).set("ports",
//   std::move(ports))
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.h"

namespace mvm::cli {

class Json {
 public:
  static Json object();
  static Json array();
  // A document written elsewhere, to be embedded. Errors: kCorrupt when it is not JSON.
  static Result<Json> parse(std::string_view text);

  Json();                                                   // null
  Json(std::nullptr_t) : Json() {}                          // NOLINT(google-explicit-constructor)
  Json(const char* text) : Json(std::string_view(text)) {}  // NOLINT(google-explicit-constructor)
  Json(const std::string& text)
      : Json(std::string_view(text)) {}   // NOLINT(google-explicit-constructor)
  Json(std::string_view text);            // NOLINT(google-explicit-constructor)
  Json(double number);                    // NOLINT(google-explicit-constructor)
  Json(Bytes size) : Json(size.count) {}  // NOLINT(google-explicit-constructor)
  Json(Millis duration)
      : Json(std::int64_t{duration.count()}) {}  // NOLINT(google-explicit-constructor)
  Json(const std::vector<std::string>& items);   // NOLINT(google-explicit-constructor)
  template <std::same_as<bool> T>
  Json(T value) : Json(Flag{value}) {}  // NOLINT(google-explicit-constructor)
  template <std::signed_integral T>
  Json(T number) : Json(Signed{number}) {}  // NOLINT(google-explicit-constructor)
  template <std::unsigned_integral T>
    requires(!std::same_as<T, bool>)
  Json(T number) : Json(Unsigned{number}) {}  // NOLINT(google-explicit-constructor)
  // null when there is no value
  template <class T>
  Json(const std::optional<T>& value) : Json(value ? Json(*value) : Json()) {}  // NOLINT

  Json(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(Json other) noexcept;
  ~Json();

  // Adds or replaces a member; a value that is no object becomes one.
  Json& set(std::string_view key, const Json& value) &;
  Json&& set(std::string_view key, const Json& value) &&;
  // Appends an element; a value that is no array becomes one.
  Json& add(const Json& value) &;
  Json&& add(const Json& value) &&;
  // Copies the members of another object into this one.
  Json& merge(const Json& members) &;

  bool has(std::string_view key) const;
  // indent -1: one line. Bytes that are not UTF-8 become U+FFFD.
  std::string dump(int indent = 2) const;

 private:
  struct Impl;
  struct Flag {
    bool value;
  };
  struct Signed {
    std::int64_t value;
  };
  struct Unsigned {
    std::uint64_t value;
  };
  explicit Json(Flag value);
  explicit Json(Signed value);
  explicit Json(Unsigned value);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mvm::cli
