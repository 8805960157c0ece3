// SPDX-License-Identifier: Apache-2.0
// The keys of this user: own ones, which sign, and public ones of others, whose signatures are
// trusted. A directory with NAME.pub for each, and NAME.key beside it where it is an own one.
//
// Nothing is kept in memory: every call reads. Two processes may use it at once.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "seal/ed25519.h"

namespace mvm::seal {

struct Key {
  std::string name;
  PublicKey public_key{};
  bool own = false;  // its secret half is here: it can sign
};

// As people compare keys: "ed25519:" and the first 16 hex characters of the public key.
std::string short_id(const PublicKey& key);

class KeyStore {
 public:
  explicit KeyStore(std::string directory) : directory_(std::move(directory)) {}

  // By name. Errors: kCorrupt naming the file that is no key.
  Result<std::vector<Key>> list() const;
  // Errors: kNotFound.
  Result<Key> find(std::string_view name) const;
  // Nothing when the key is not trusted here.
  Result<std::optional<Key>> find(const PublicKey& key) const;

  // A new key of our own. Errors: kAlreadyExists.
  Result<Key> create(const std::string& name) const;
  // From PEM text: somebody's public key, or an own one. Errors: kAlreadyExists; those of reading.
  Result<Key> import(const std::string& name, std::string_view pem) const;
  // Errors: kNotFound; kUnsupported for one that is not our own; kPermission when others may read
  // it.
  Result<SecretKey> secret(std::string_view name) const;
  // Errors: kNotFound.
  Result<> remove(std::string_view name) const;

 private:
  std::string path(std::string_view name, const char* suffix) const;
  Result<Key> add(const std::string& name, const PublicKey& key,
                  const std::optional<SecretKey>& secret) const;

  std::string directory_;
};

}  // namespace mvm::seal
