// SPDX-License-Identifier: Apache-2.0
// SHA-256 as lower-case hex, by Nettle.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/result.h"

namespace mvm::sys {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  // 64 hex characters; the object is then used up.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::string_view text);
// Digest of a whole file. Errors: those of open and read.
Result<std::string> sha256_file(const std::string& path);

}  // namespace mvm::sys
