// SPDX-License-Identifier: Apache-2.0
#include "seal/key_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "seal/key_file.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/random.h"

namespace mvm::seal {
namespace {

constexpr Bytes kLargestFile = kibibytes(16);
constexpr const char* kPublicSuffix = ".pub";
constexpr const char* kSecretSuffix = ".key";
constexpr std::size_t kShortHex = 16;

Error unknown(std::string_view name) {
  return Error(Errc::kNotFound, "no key named '" + std::string(name) + "'")
      .with_hint("list them with: mvmctl key ls");
}

}  // namespace

std::string short_id(const PublicKey& key) { return "ed25519:" + to_hex(key).substr(0, kShortHex); }

std::string KeyStore::path(std::string_view name, const char* suffix) const {
  return directory_ + "/" + std::string(name) + suffix;
}

Result<Key> KeyStore::find(std::string_view name) const {
  if (name.find('/') != std::string_view::npos || name.starts_with('.')) return unknown(name);
  const std::string file = path(name, kPublicSuffix);
  auto text = sys::read_file(file, kLargestFile);
  if (!text && text.error().code() == Errc::kNotFound) return unknown(name);
  if (!text) return std::move(text).error();
  auto key = public_key_from_pem(*text);
  if (!key) return std::move(key).error().with_code(Errc::kCorrupt).with_context(file);
  return Key{std::string(name), *key, sys::path_exists(path(name, kSecretSuffix))};
}

Result<std::vector<Key>> KeyStore::list() const {
  std::vector<Key> out;
  for (const std::string& file : sys::children(directory_)) {
    if (!file.ends_with(kPublicSuffix)) continue;
    const std::size_t begin = directory_.size() + 1;
    out.push_back(
        MVM_TRY(find(file.substr(begin, file.size() - begin - std::strlen(kPublicSuffix)))));
  }
  std::ranges::sort(out, {}, &Key::name);
  return out;
}

Result<std::optional<Key>> KeyStore::find(const PublicKey& wanted) const {
  std::optional<Key> out;
  for (Key& key : MVM_TRY(list())) {
    // An own key before a public one that somebody has imported once more.
    if (key.public_key == wanted && (!out || key.own)) out = std::move(key);
  }
  return out;
}

Result<Key> KeyStore::add(const std::string& name, const PublicKey& key,
                          const std::optional<SecretKey>& secret) const {
  MVM_TRY(sys::make_dirs(directory_));
  const sys::FileLock lock = MVM_TRY(sys::FileLock::acquire(directory_ + "/.lock"));
  if (sys::path_exists(path(name, kPublicSuffix)))
    return Error(Errc::kAlreadyExists, "key '" + name + "' exists already")
        .with_hint("choose another name, or remove it with: mvmctl key rm " + name);
  // The secret first: a key without its public half is not there.
  if (secret)
    MVM_TRY(sys::write_atomic(path(name, kSecretSuffix), secret_to_pem(*secret), 0600,
                              sys::Durability::kSurvivesPowerCut));
  MVM_TRY(sys::write_atomic(path(name, kPublicSuffix), to_pem(key), 0644,
                            sys::Durability::kSurvivesPowerCut));
  return Key{name, key, secret.has_value()};
}

Result<Key> KeyStore::create(const std::string& name) const {
  SecretKey secret{};
  const auto random = sys::random_bytes(secret.size());
  std::memcpy(secret.data(), random.data(), secret.size());
  return add(name, public_key_of(secret), secret);
}

Result<Key> KeyStore::import(const std::string& name, std::string_view pem) const {
  if (pem.find("PRIVATE KEY") == std::string_view::npos)
    return add(name, MVM_TRY(public_key_from_pem(pem)), std::nullopt);
  const SecretKey secret = MVM_TRY(secret_key_from_pem(pem));
  return add(name, public_key_of(secret), secret);
}

Result<SecretKey> KeyStore::secret(std::string_view name) const {
  const Key key = MVM_TRY(find(name));
  const std::string file = path(name, kSecretSuffix);
  if (!key.own)
    return Error(Errc::kUnsupported, "key '" + key.name + "' is somebody else's: it cannot sign")
        .with_hint("make one with: mvmctl key new NAME");
  struct stat st{};
  if (::stat(file.c_str(), &st) != 0) return Error::from_errno("stat " + file);
  if ((st.st_mode & 077) != 0)
    return Error(Errc::kPermission, file + " can be read by others")
        .with_hint("take that away with: chmod 600 " + file);
  auto secret = secret_key_from_pem(MVM_TRY(sys::read_file(file, kLargestFile)));
  if (!secret) return std::move(secret).error().with_code(Errc::kCorrupt).with_context(file);
  if (public_key_of(*secret) != key.public_key)
    return Error(Errc::kCorrupt, file + " does not belong to " + path(name, kPublicSuffix));
  return *secret;
}

Result<> KeyStore::remove(std::string_view name) const {
  MVM_TRY(find(name));
  const sys::FileLock lock = MVM_TRY(sys::FileLock::acquire(directory_ + "/.lock"));
  if (::unlink(path(name, kSecretSuffix).c_str()) != 0 && errno != ENOENT)
    return Error::from_errno("remove " + path(name, kSecretSuffix));
  if (::unlink(path(name, kPublicSuffix).c_str()) != 0 && errno != ENOENT)
    return Error::from_errno("remove " + path(name, kPublicSuffix));
  return {};
}

}  // namespace mvm::seal
