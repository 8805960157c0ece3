// SPDX-License-Identifier: Apache-2.0
#include "build/memory_dir.h"
#include "build/source.h"
#include "image/host_trees.h"

namespace mvm::build {
namespace {

// A system with some packages, their archives and apt's lists; more is tried on the disk.
constexpr Bytes kWorth = gibibytes(1);

// mmdebstrap makes the system where temporary files go.
Result<> make_system(const Shop& shop, const image::DebianCommand& command) {
  Tool tool{.step = "source",
            .argv = command.argv,
            .environment = command.environment,
            .network = true,
            .explain = image::debian_failure};
  if (const auto memory = MemoryDir::mount(shop.temporary(), kWorth)) {
    tool.writable = {memory->path()};
    const auto made = run_tool(shop, tool);
    if (made) return {};
    if (made.error().code() != Errc::kNoSpace) return made.error();
    tool.writable.clear();
  }
  MVM_TRY(run_tool(shop, tool));
  return {};
}

}  // namespace

Result<SourceLayers> from_debian(const Shop& shop, const std::string& dir) {
  const spec::Manifest& manifest = shop.job.manifest;
  if (manifest.arch != image::host_arch())
    return Error(Errc::kUnsupported, "a Debian system is made for the architecture it is made on")
        .with_hint("for another architecture take an image from a registry: image = \"...\"");
  const image::DebianRecipe recipe{manifest.source.what, manifest.source.packages,
                                   manifest.source.hooks, shop.job.apt_sources};
  const std::string tar = dir + "/debian.tar";
  MVM_TRY(make_system(shop, MVM_TRY(image::debian_command(recipe, shop.job.work_dir, tar))));
  SourceLayers out;
  out.layers = {{.path = tar, .digest = {}, .size = {}}};
  out.config = image::host_tree_config();
  return out;
}

}  // namespace mvm::build
