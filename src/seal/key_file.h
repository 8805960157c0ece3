// SPDX-License-Identifier: Apache-2.0
// Ed25519 keys as PEM text, as OpenSSL and others read and write them.
//
// Source: RFC 8410 (SubjectPublicKeyInfo, and PKCS #8 without a password).
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "seal/ed25519.h"

namespace mvm::seal {

std::string to_pem(const PublicKey& key);
std::string secret_to_pem(const SecretKey& secret);

// Errors: kInvalidArgument for what is no PEM text of such a key; kUnsupported for a key of another
// kind, or one with a password.
Result<PublicKey> public_key_from_pem(std::string_view text);
Result<SecretKey> secret_key_from_pem(std::string_view text);

}  // namespace mvm::seal
