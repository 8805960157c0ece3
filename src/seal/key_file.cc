// SPDX-License-Identifier: Apache-2.0
#include "seal/key_file.h"

#include <nettle/base64.h>

#include <algorithm>

namespace mvm::seal {
namespace {

constexpr std::string_view kPublic = "PUBLIC KEY";
constexpr std::string_view kSecret = "PRIVATE KEY";
// The DER around the 32 bytes: a sequence that names Ed25519 (OID 1.3.101.112).
constexpr std::array<std::uint8_t, 12> kPublicPrefix = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                                        0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
constexpr std::array<std::uint8_t, 16> kSecretPrefix = {
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};

std::string line(const char* word, std::string_view label) {
  return std::string("-----") + word + " " + std::string(label) + "-----";
}

template <std::size_t N>
std::string write_pem(std::string_view label, const std::array<std::uint8_t, N>& prefix,
                      const std::array<std::uint8_t, 32>& key) {
  std::array<std::uint8_t, N + 32> der{};
  std::ranges::copy(prefix, der.begin());
  std::ranges::copy(key, der.begin() + N);
  std::string text(BASE64_ENCODE_RAW_LENGTH(der.size()), '\0');
  ::base64_encode_raw(text.data(), der.size(), der.data());
  return line("BEGIN", label) + "\n" + text + "\n" + line("END", label) + "\n";
}

// What stands between the lines of a label, decoded.
Result<std::string> read_pem(std::string_view label, std::string_view text) {
  const std::string begin = line("BEGIN", label);
  const std::size_t at = text.find(begin);
  const std::size_t end = at == std::string_view::npos ? at : text.find(line("END", label), at);
  if (end == std::string_view::npos) {
    if (text.find("ENCRYPTED") != std::string_view::npos)
      return Error(Errc::kUnsupported, "the key has a password")
          .with_hint("write it without one, with: openssl pkey -in FILE");
    return Error(Errc::kInvalidArgument, "there is no '" + begin + "' in it");
  }
  const std::string_view body = text.substr(at + begin.size(), end - at - begin.size());
  std::string out(BASE64_DECODE_LENGTH(body.size()), '\0');
  base64_decode_ctx decoder;
  ::base64_decode_init(&decoder);
  std::size_t size = out.size();
  if (::base64_decode_update(&decoder, &size, reinterpret_cast<std::uint8_t*>(out.data()),
                             body.size(), body.data()) != 1 ||
      ::base64_decode_final(&decoder) != 1)
    return Error(Errc::kInvalidArgument, "what stands after '" + begin + "' is not base64");
  out.resize(size);
  return out;
}

template <std::size_t N>
Result<std::array<std::uint8_t, 32>> read_key(std::string_view label,
                                              const std::array<std::uint8_t, N>& prefix,
                                              std::string_view text) {
  const std::string der = MVM_TRY(read_pem(label, text));
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(der.data());
  if (der.size() != N + 32 || !std::equal(prefix.begin(), prefix.end(), bytes))
    return Error(Errc::kUnsupported, "the key is not an Ed25519 key")
        .with_hint("make one with: mvmctl key new NAME");
  std::array<std::uint8_t, 32> out{};
  std::copy_n(bytes + N, out.size(), out.begin());
  return out;
}

}  // namespace

std::string to_pem(const PublicKey& key) { return write_pem(kPublic, kPublicPrefix, key); }
std::string secret_to_pem(const SecretKey& secret) {
  return write_pem(kSecret, kSecretPrefix, secret);
}

Result<PublicKey> public_key_from_pem(std::string_view text) {
  return read_key(kPublic, kPublicPrefix, text);
}
Result<SecretKey> secret_key_from_pem(std::string_view text) {
  return read_key(kSecret, kSecretPrefix, text);
}

}  // namespace mvm::seal
