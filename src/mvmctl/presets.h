// SPDX-License-Identifier: Apache-2.0
// The projects that `mvmctl init` begins with. Each builds and runs as it is.
#pragma once

#include <span>
#include <string_view>

namespace mvm::cli {

struct PresetFile {
  std::string_view path;  // below the project
  std::string_view text;
};

struct Preset {
  std::string_view name;
  std::string_view meaning;
  std::span<const PresetFile> files;  // the first is the manifest
};

std::span<const Preset> presets();

}  // namespace mvm::cli
