// SPDX-License-Identifier: Apache-2.0
#include "sys/sha256.h"

#include <fcntl.h>
#include <openssl/evp.h>

#include <array>
#include <vector>

#include "sys/io.h"

namespace mvm::sys {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;

void Sha256::update(std::span<const std::byte> bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

std::string Sha256::finish() {
  std::array<unsigned char, 32> digest{};
  EVP_DigestFinal_ex(state_->context, digest.data(), nullptr);
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
