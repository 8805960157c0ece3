// SPDX-License-Identifier: Apache-2.0
// Strict reading of JSON objects: every field is asked for by name and type, and what nobody asked
// for, is missing, is there twice or of another type becomes an error that names it.
//
// The first error of a document is kept and everything read after it is empty, so that a reader is
// a list of fields and one finish() at its end.
//
// Threads: none of its own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace mvm::vmm {

constexpr int kMaxJsonDepth = 64;

// kRequired: must be there. kOptional: may be absent or null. kDefault: may be absent.
enum class Need { kRequired, kOptional, kDefault };

class Fields {
 public:
  // Errors: kInvalidArgument: not JSON, not one object, too deep, a key twice.
  static Result<Fields> parse(std::string_view text);

  Fields(Fields&&) noexcept;
  Fields& operator=(Fields&&) noexcept;
  ~Fields();

  // The field's value; nothing when it is absent, or on an error.
  std::optional<std::string> text(std::string_view name, Need need);
  std::optional<bool> boolean(std::string_view name, Need need);
  // A whole number from 0 to `most`.
  std::optional<std::uint64_t> number(std::string_view name, std::uint64_t most, Need need);
  std::optional<std::vector<std::string>> texts(std::string_view name, Need need);
  std::optional<std::map<std::string, std::string>> text_map(std::string_view name, Need need);
  // The index of the text among `choices`.
  std::optional<std::size_t> choice(std::string_view name,
                                    std::span<const std::string_view> choices, Need need);
  // Objects inside; their finish() is to be called as well.
  std::optional<Fields> object(std::string_view name, Need need);
  std::vector<Fields> objects(std::string_view name, Need need);

  // Whether the field is there and not null. It still counts as unknown until it is read.
  bool has(std::string_view name) const;
  std::size_t size() const;

  // Keeps an error of the caller's own, unless there is one.
  void fail(Error error);
  // The first error of the whole document; a field of this object that was never read is one.
  Result<> finish();

 private:
  struct Document;
  Fields(std::shared_ptr<Document> document, const void* object);
  const void* find(std::string_view name, Need need);
  void wrong_type(std::string_view name, const void* value, std::string_view expected);

  std::shared_ptr<Document> document_;
  const void* object_;  // a value inside the document
  std::set<std::string, std::less<>> known_;
};

// A JSON object with nothing asked of its fields, as compact text. Errors: those of parse().
Result<std::string> normalized_object(std::string_view text);

}  // namespace mvm::vmm
