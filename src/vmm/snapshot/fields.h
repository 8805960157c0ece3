// SPDX-License-Identifier: Apache-2.0
// Fields at fixed offsets of the snapshot formats: little-endian integers, padded text, digests.
// The caller has checked that the field lies in the span.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

#include "sys/sha256.h"

namespace mvm::vmm {

using Digest = std::array<std::byte, 32>;

template <class T>
  requires std::is_unsigned_v<T>
T load(std::span<const std::byte> in, std::size_t offset) {
  std::uint64_t value = 0;
  for (std::size_t i = sizeof(T); i > 0; --i)
    value = value << 8 | std::to_integer<std::uint64_t>(in[offset + i - 1]);
  return static_cast<T>(value);
}

template <class T>
  requires std::is_unsigned_v<T>
void store(std::span<std::byte> out, std::size_t offset, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    out[offset + i] = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff);
}

template <std::size_t N>
std::array<std::byte, N> load_bytes(std::span<const std::byte> in, std::size_t offset) {
  std::array<std::byte, N> out;
  std::copy_n(in.begin() + static_cast<std::ptrdiff_t>(offset), N, out.begin());
  return out;
}

inline void store_bytes(std::span<std::byte> out, std::size_t offset,
                        std::span<const std::byte> bytes) {
  std::copy(bytes.begin(), bytes.end(), out.begin() + static_cast<std::ptrdiff_t>(offset));
}

inline bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// The digest of several pieces, one after the other.
inline Digest digest_of(std::initializer_list<std::span<const std::byte>> pieces) {
  sys::Sha256 hash;
  for (const auto piece : pieces) hash.update(piece);
  const std::string hex = hash.finish();
  const auto nibble = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  Digest out;
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<std::byte>(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
  return out;
}

}  // namespace mvm::vmm
