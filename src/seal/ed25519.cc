// SPDX-License-Identifier: Apache-2.0
#include "seal/ed25519.h"

#include <nettle/eddsa.h>

#include <algorithm>
#include <charconv>
#include <span>

namespace mvm::seal {
namespace {

static_assert(ED25519_KEY_SIZE == sizeof(PublicKey) && ED25519_SIGNATURE_SIZE == sizeof(Signature));

const std::uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

std::string hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t byte : bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

template <class Bytes>
Result<Bytes> from_hex(std::string_view text, const char* what) {
  Bytes out{};
  bool good = text.size() == 2 * out.size();
  for (std::size_t i = 0; good && i < out.size(); ++i) {
    const char* digits = text.data() + 2 * i;
    good = std::from_chars(digits, digits + 2, out[i], 16).ptr == digits + 2;
  }
  if (good) return out;
  return Error(Errc::kInvalidArgument,
               std::string(what) + " has " + std::to_string(2 * out.size()) + " hex digits");
}

}  // namespace

PublicKey public_key_of(const SecretKey& secret) {
  PublicKey out{};
  ::nettle_ed25519_sha512_public_key(out.data(), secret.data());
  return out;
}

Signature sign(const SecretKey& secret, std::string_view message) {
  const PublicKey key = public_key_of(secret);
  Signature out{};
  ::nettle_ed25519_sha512_sign(key.data(), secret.data(), message.size(), bytes_of(message),
                               out.data());
  return out;
}

bool verify(const PublicKey& key, std::string_view message, const Signature& signature) {
  return ::nettle_ed25519_sha512_verify(key.data(), message.size(), bytes_of(message),
                                        signature.data()) == 1;
}

std::string to_hex(const PublicKey& key) { return hex(key); }
std::string to_hex(const Signature& signature) { return hex(signature); }

Result<PublicKey> public_key_from_hex(std::string_view text) {
  return from_hex<PublicKey>(text, "a public key");
}

Result<Signature> signature_from_hex(std::string_view text) {
  return from_hex<Signature>(text, "a signature");
}

Result<Signature> signature_from_bytes(std::string_view bytes) {
  Signature out{};
  if (bytes.size() != out.size())
    return Error(Errc::kCorrupt, "the signature has " + std::to_string(bytes.size()) +
                                     " bytes, not " + std::to_string(out.size()));
  std::copy_n(bytes_of(bytes), out.size(), out.begin());
  return out;
}

std::string to_bytes(const Signature& signature) {
  return {reinterpret_cast<const char*>(signature.data()), signature.size()};
}

}  // namespace mvm::seal
