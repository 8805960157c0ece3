// SPDX-License-Identifier: Apache-2.0
// The source of an image, whatever its kind, as layers on this disk.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "build/tool.h"
#include "core/result.h"
#include "image/unpack.h"
#include "spec/image_config.h"
#include "spec/manifest.h"

namespace mvm::build {

struct SourceLayers {
  std::vector<image::LayerFile> layers;  // lowest first
  spec::ImageConfig config;
  std::optional<spec::Manifest> guest;  // a flake says what a manifest does not
};

// Made from the job's cache when its key is there, and put there otherwise: whole, by one rename.
// Errors: those of the tools.
Result<SourceLayers> source_layers(const Shop& shop);

// One kind each. What they keep lies in `dir`.
Result<SourceLayers> from_directory(const Shop& shop, const std::string& dir);
Result<SourceLayers> from_image(const Shop& shop, const std::string& dir);
Result<SourceLayers> from_debian(const Shop& shop, const std::string& dir);
Result<SourceLayers> from_dockerfile(const Shop& shop, const std::string& dir);
Result<SourceLayers> from_flake(const Shop& shop, const std::string& dir);

}  // namespace mvm::build
