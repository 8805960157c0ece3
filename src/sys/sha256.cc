// SPDX-License-Identifier: Apache-2.0
#include "sys/sha256.h"

#include <fcntl.h>
#include <nettle/sha2.h>

#include <array>
#include <vector>

#include "sys/io.h"

namespace mvm::sys {

struct Sha256::State {
  sha256_ctx context;
};

Sha256::Sha256() : state_(std::make_unique<State>()) { ::sha256_init(&state_->context); }
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;

void Sha256::update(std::span<const std::byte> bytes) {
  ::sha256_update(&state_->context, bytes.size(),
                  reinterpret_cast<const std::uint8_t*>(bytes.data()));
}

std::string Sha256::finish() {
  std::array<std::uint8_t, SHA256_DIGEST_SIZE> digest{};
  ::sha256_digest(&state_->context, digest.size(), digest.data());
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : digest) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::string sha256_hex(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return hash.finish();
}

Result<std::string> sha256_file(const std::string& path) {
  const UniqueFd fd = MVM_TRY(open_file(path, O_RDONLY));
  Sha256 hash;
  std::vector<std::byte> chunk(1 << 20);
  for (;;) {
    const std::size_t n = MVM_TRY_CTX(read_some(fd.get(), chunk), "reading " + path);
    if (n == 0) return hash.finish();
    hash.update(std::span(chunk).first(n));
  }
}

}  // namespace mvm::sys
