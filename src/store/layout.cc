// SPDX-License-Identifier: Apache-2.0
#include "store/layout.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace mvm::store {
namespace {

using Getter = std::function<std::string(const char*)>;

Result<std::string> absolute(const char* name, std::string value) {
  if (value.front() != '/') {
    return Error(Errc::kInvalidArgument,
                 std::string(name) + "='" + value + "' is not an absolute path")
        .with_hint(std::string("set ") + name + " to a path that starts with '/'");
  }
  // Names of a jail have to be plain.
  const std::filesystem::path path(value);
  if (std::ranges::find(path, "..") != path.end())
    return Error(Errc::kInvalidArgument, std::string(name) + "='" + value + "' has a '..' in it")
        .with_hint(std::string("set ") + name + " to a path without");
  value = path.lexically_normal().string();
  while (value.size() > 1 && value.back() == '/') value.pop_back();
  return value;
}

// The directory named by an XDG variable, or its default under the home directory.
Result<std::string> xdg(const Getter& get, const char* name, std::string_view below_home) {
  if (std::string value = get(name); !value.empty()) {
    return MVM_TRY(absolute(name, std::move(value))) + "/mvm";
  }
  std::string home = get("HOME");
  if (home.empty()) {
    return Error(Errc::kInvalidArgument,
                 std::string("neither MVM_HOME, ") + name + " nor HOME is set")
        .with_hint("set MVM_HOME to a directory that mvm may use");
  }
  return MVM_TRY(absolute("HOME", std::move(home))) + std::string(below_home) + "/mvm";
}

}  // namespace

Result<Layout> Layout::from_variables(const Getter& get) {
  if (std::string home = get("MVM_HOME"); !home.empty()) {
    const std::string root = MVM_TRY(absolute("MVM_HOME", std::move(home)));
    return Layout{root + "/data", root + "/cache", root + "/config", root + "/run"};
  }
  Layout layout;
  layout.data_dir = MVM_TRY(xdg(get, "XDG_DATA_HOME", "/.local/share"));
  layout.cache_dir = MVM_TRY(xdg(get, "XDG_CACHE_HOME", "/.cache"));
  layout.config_dir = MVM_TRY(xdg(get, "XDG_CONFIG_HOME", "/.config"));
  std::string run = get("XDG_RUNTIME_DIR");
  layout.run_dir = run.empty() ? layout.data_dir + "/run"
                               : MVM_TRY(absolute("XDG_RUNTIME_DIR", std::move(run))) + "/mvm";
  return layout;
}

Result<Layout> Layout::from_environment() {
  return from_variables([](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  });
}

}  // namespace mvm::store
