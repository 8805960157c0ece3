// SPDX-License-Identifier: Apache-2.0
// Session tokens of the metadata service, version 2: the time at which one expires and an
// authentication code over it, under a key that nobody but this process ever has. Nothing is kept
// for a token, so that a guest may ask for any number of them.
//
// Source: RFC 2104 (HMAC); Firecracker API 1.x, MMDS.
// Threads: const functions from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/units.h"

namespace mvm::vmm {

class TokenAuthority {
 public:
  static constexpr std::uint32_t kMinSeconds = 1;
  static constexpr std::uint32_t kMaxSeconds = 21'600;  // six hours

  // With a random key.
  TokenAuthority();

  // Shape: base64. `seconds` from kMinSeconds to kMaxSeconds.
  std::string issue(std::uint32_t seconds, Clock::time_point now) const;
  // Whether the text is a token of ours that has not expired.
  bool valid(std::string_view token, Clock::time_point now) const;

 private:
  static constexpr std::size_t kCodeSize = 32;
  using Code = std::array<std::uint8_t, kCodeSize>;
  Code code_of(std::string_view body) const;

  std::array<std::uint8_t, 32> key_;
};

}  // namespace mvm::vmm
