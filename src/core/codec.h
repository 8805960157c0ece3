// SPDX-License-Identifier: Apache-2.0
// Little-endian encoding of fields one after the other (messages, saved device state), with every
// length checked on the way in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace mvm {

class ByteWriter {
 public:
  template <class T>
    requires std::is_integral_v<T>
  ByteWriter& number(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
      out_.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff));
    return *this;
  }
  ByteWriter& boolean(bool value) { return number<std::uint8_t>(value ? 1 : 0); }
  ByteWriter& text(std::string_view value) { return bytes(std::as_bytes(std::span(value))); }
  ByteWriter& bytes(std::span<const std::byte> value) {
    number(static_cast<std::uint32_t>(value.size()));
    out_.insert(out_.end(), value.begin(), value.end());
    return *this;
  }
  ByteWriter& texts(const std::vector<std::string>& values) {
    number(static_cast<std::uint32_t>(values.size()));
    for (const std::string& value : values) text(value);
    return *this;
  }
  std::vector<std::byte> take() { return std::move(out_); }

 private:
  std::vector<std::byte> out_;
};

// Reads fields in order; after the first failure everything reads as zero and ok() is false.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> in) : in_(in) {}

  template <class T>
    requires std::is_integral_v<T>
  T number() {
    if (!has(sizeof(T))) return 0;
    std::uint64_t value = 0;
    for (std::size_t i = sizeof(T); i > 0; --i)
      value = value << 8 | static_cast<std::uint64_t>(in_[i - 1]);
    in_ = in_.subspan(sizeof(T));
    return static_cast<T>(value);
  }
  bool boolean() {
    const auto value = number<std::uint8_t>();
    if (value > 1) ok_ = false;
    return value == 1;
  }
  std::span<const std::byte> bytes(std::size_t limit) {
    const auto length = number<std::uint32_t>();
    if (length > limit || !has(length)) {
      ok_ = false;
      return {};
    }
    const auto out = in_.first(length);
    in_ = in_.subspan(length);
    return out;
  }
  std::string text(std::size_t limit) {
    const auto raw = bytes(limit);
    return std::string(reinterpret_cast<const char*>(raw.data()), raw.size());
  }
  std::vector<std::string> texts(std::size_t limit, std::size_t text_limit) {
    const auto count = number<std::uint32_t>();
    std::vector<std::string> out;
    if (count > limit) ok_ = false;
    for (std::uint32_t i = 0; ok_ && i < count; ++i) out.push_back(text(text_limit));
    return out;
  }
  bool ok() const { return ok_; }
  // True when all fields were there and nothing is left over.
  bool done() const { return ok_ && in_.empty(); }
  bool empty() const { return in_.empty(); }

 private:
  bool has(std::size_t count) {
    if (in_.size() < count) ok_ = false;
    return ok_;
  }
  std::span<const std::byte> in_;
  bool ok_ = true;
};

}  // namespace mvm
