// SPDX-License-Identifier: Apache-2.0
// Arithmetic on untrusted numbers: the result, or nothing on overflow.
#pragma once

#include <concepts>
#include <optional>

namespace mvm {

template <std::integral T>
constexpr std::optional<T> checked_add(T a, T b) {
  T out;
  if (__builtin_add_overflow(a, b, &out)) return std::nullopt;
  return out;
}

template <std::integral T>
constexpr std::optional<T> checked_mul(T a, T b) {
  T out;
  if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
  return out;
}

}  // namespace mvm
