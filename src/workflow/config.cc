// SPDX-License-Identifier: Apache-2.0
#include "workflow/config.h"

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <array>
#include <sstream>

#include "core/units.h"
#include "spec/settings.h"
#include "spec/vm_spec_json.h"
#include "sys/files.h"
#include "sys/io.h"
#include "workflow/build.h"

namespace mvm::workflow {
namespace {

constexpr std::array kKeys = {
    ConfigKey{"image", "image of run and up when none is named", "busybox"},
    ConfigKey{"backend", "engine, or auto", "auto"},
    ConfigKey{"isolation", "weakest boundary that is accepted: microvm, emulated or container",
              "emulated"},
    ConfigKey{"allow_container_fallback",
              "true: docker, which is no boundary, where no machine can be had", "false"},
    ConfigKey{"experimental", "true: a host whose support is experimental will do", "false"},
    ConfigKey{"cpus", "virtual processors of a machine", "1"},
    ConfigKey{"memory", "memory of a machine", "512M"},
    ConfigKey{"disk", "size of a machine's scratch disk", "8G"},
    ConfigKey{"network", "user or none", "user"},
    ConfigKey{"builder", "where projects are built: auto, native or vm", "auto"},
    ConfigKey{"signing_key", "key that signs sealed images and bundles", "the only own key"},
    ConfigKey{"jail", "of the mvm-vmm engine, required or off", "required"},
};

const ConfigKey* find_key(std::string_view name) {
  for (const ConfigKey& key : kKeys) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

Result<> check_value(const std::string& key, const std::string& value) {
  // Escapes in the file can spell what the file itself may not hold.
  for (const char c : value) {
    if (c < ' ' || c > '~')
      return Error(Errc::kInvalidArgument,
                   "the value holds a character that is not printable ASCII");
  }
  if (key == "memory" || key == "disk") {
    MVM_TRY(parse_size(value));
  } else if (key == "isolation") {
    MVM_TRY(spec::parse_isolation(value));
  } else if (key == "cpus") {
    if (value.empty() || value.size() > 4 ||
        value.find_first_not_of("0123456789") != std::string::npos)
      return Error(Errc::kInvalidArgument, "'" + value + "' is not a number of cpus")
          .with_hint("give a number from 1 to 64");
  } else if (key == "network" && value != "user" && value != "none") {
    return Error(Errc::kInvalidArgument, "'" + value + "' is not a network mode")
        .with_hint("choose user or none");
  } else if (key == "builder") {
    MVM_TRY(parse_where(value));
  } else if ((key == "allow_container_fallback" || key == "experimental") && value != "true" &&
             value != "false") {
    return Error(Errc::kInvalidArgument, "'" + value + "' is neither true nor false");
  } else if (key == "jail" && value != "required" && value != "off") {
    return Error(Errc::kInvalidArgument, "'" + value + "' says nothing about the jail")
        .with_hint("choose required or off");
  }
  return {};
}

Result<> check(const std::string& key, const std::string& value) {
  if (find_key(key) == nullptr) {
    std::string names;
    for (const ConfigKey& known : kKeys)
      names += (names.empty() ? "" : ", ") + std::string(known.name);
    return Error(Errc::kInvalidArgument, "there is no setting '" + key + "'")
        .with_hint("choose one of " + names);
  }
  MVM_TRY_CTX(check_value(key, value), "setting '" + key + "'");
  return {};
}

}  // namespace

std::span<const ConfigKey> config_keys() { return kKeys; }

std::string config_path(const store::Layout& layout) { return layout.config_dir + "/config.toml"; }

Result<Config> Config::load(const store::Layout& layout) {
  const std::string path = config_path(layout);
  auto text = sys::read_file(path, mebibytes(1));
  if (!text && text.error().code() == Errc::kNotFound) return Config();
  if (!text) return std::move(text).error();
  return parse(*text, path);
}

Result<Config> Config::parse(std::string_view text, const std::string& name) {
  Config out;
  for (const spec::Setting& setting : MVM_TRY(spec::read_settings(text, name))) {
    MVM_TRY_CTX(check(setting.key, setting.value), setting.where);
    out.values_[setting.key] = setting.value;
  }
  return out;
}

std::optional<std::string> Config::get(std::string_view key) const {
  const auto it = values_.find(key);
  if (it == values_.end()) return std::nullopt;
  return it->second;
}

Result<> Config::set(const std::string& key, const std::string& value) {
  if (value.empty() && find_key(key) != nullptr) {
    values_.erase(key);
    return {};
  }
  MVM_TRY(check(key, value));
  values_[key] = value;
  return {};
}

std::string Config::to_toml() const {
  toml::table table;
  for (const auto& [key, value] : values_) table.insert_or_assign(key, value);
  std::ostringstream out;
  out << table << "\n";
  return out.str();
}

Result<> Config::save(const store::Layout& layout) const {
  MVM_TRY(sys::make_dirs(layout.config_dir));
  return sys::write_atomic(config_path(layout), to_toml(), 0600,
                           sys::Durability::kSurvivesPowerCut);
}

}  // namespace mvm::workflow
