// SPDX-License-Identifier: Apache-2.0
// The user's configuration, config.toml: defaults for what command lines leave out.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/result.h"
#include "store/layout.h"

namespace mvm::workflow {

struct ConfigKey {
  std::string_view name;
  std::string_view meaning;
  std::string_view standard;  // what holds when it is not set
};

// Every key there is.
std::span<const ConfigKey> config_keys();

class Config {
 public:
  // A missing file is an empty configuration. Errors: kInvalidArgument with line and column, or
  // naming an unknown key or a value that is none for it.
  static Result<Config> load(const store::Layout& layout);
  // The same from text. Pure.
  static Result<Config> parse(std::string_view text, const std::string& name);

  std::optional<std::string> get(std::string_view key) const;
  // Whether the engine is to be jailed, which is so unless it is set otherwise.
  bool jail() const { return get("jail") != "off"; }
  // Errors: kInvalidArgument. An empty value removes the key.
  Result<> set(const std::string& key, const std::string& value);
  // Errors: those of writing; the old file stays whole.
  Result<> save(const store::Layout& layout) const;
  std::string to_toml() const;

 private:
  std::map<std::string, std::string, std::less<>> values_;
};

std::string config_path(const store::Layout& layout);

}  // namespace mvm::workflow
