// SPDX-License-Identifier: Apache-2.0
// Ed25519 signatures, by Nettle. The same inputs give the same signature.
//
// Source: RFC 8032.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace mvm::seal {

using PublicKey = std::array<std::uint8_t, 32>;
using SecretKey = std::array<std::uint8_t, 32>;  // the seed, of which everything else is made
using Signature = std::array<std::uint8_t, 64>;

PublicKey public_key_of(const SecretKey& secret);
Signature sign(const SecretKey& secret, std::string_view message);
bool verify(const PublicKey& key, std::string_view message, const Signature& signature);

// 64 lower-case hex characters.
std::string to_hex(const PublicKey& key);
// Errors: kInvalidArgument.
Result<PublicKey> public_key_from_hex(std::string_view text);

// 128 lower-case hex characters.
std::string to_hex(const Signature& signature);
// Errors: kInvalidArgument.
Result<Signature> signature_from_hex(std::string_view text);

// 64 bytes, as they lie in a file. Errors: kCorrupt.
Result<Signature> signature_from_bytes(std::string_view bytes);
std::string to_bytes(const Signature& signature);

}  // namespace mvm::seal
