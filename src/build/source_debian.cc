// SPDX-License-Identifier: Apache-2.0
#include "build/source.h"
#include "image/host_trees.h"

namespace mvm::build {

Result<SourceLayers> from_debian(const Shop& shop, const std::string& dir) {
  const spec::Manifest& manifest = shop.job.manifest;
  if (manifest.arch != image::host_arch())
    return Error(Errc::kUnsupported, "a Debian system is made for the architecture it is made on")
        .with_hint("for another architecture take an image from a registry: image = \"...\"");
  const image::DebianRecipe recipe{manifest.source.what, manifest.source.packages,
                                   manifest.source.hooks, shop.job.apt_sources};
  const std::string tar = dir + "/debian.tar";
  image::DebianCommand command = MVM_TRY(image::debian_command(recipe, shop.job.work_dir, tar));
  MVM_TRY(run_tool(shop, {.step = "source",
                          .argv = std::move(command.argv),
                          .environment = std::move(command.environment),
                          .network = true,
                          .explain = image::debian_failure}));
  SourceLayers out;
  out.layers = {{.path = tar, .digest = {}, .size = {}}};
  out.config = image::host_tree_config();
  return out;
}

}  // namespace mvm::build
