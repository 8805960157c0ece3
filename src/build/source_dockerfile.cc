// SPDX-License-Identifier: Apache-2.0
// Dockerfiles by buildah, which keeps its own cache of layers.
#include <linux/magic.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>

#include "build/inputs.h"
#include "build/source.h"
#include "image/oci_layout.h"
#include "sys/io.h"

#ifndef OVERLAYFS_SUPER_MAGIC
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#endif

namespace mvm::build {
namespace {

constexpr char kTag[] = "image";

// An overlay cannot lie on another.
std::string storage_driver(const std::string& dir) {
  struct statfs fs;
  const bool on_overlay = ::statfs(dir.c_str(), &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC;
  return on_overlay ? "vfs" : "overlay";
}

// What the storage's driver finds out about overlays of this kernel, by mounting some, lies as
// empty files in its run directory, which ours is for one build only. It is found out once per
// kernel. Source: containers/storage, drivers/overlay, cachedFeatureRecord().
class KnownOverlay {
 public:
  explicit KnownOverlay(const Shop& shop) : run_(shop.job.work_dir + "/run/overlay") {
    utsname host{};
    ::uname(&host);
    known_ = shop.job.cache_dir + "/overlay-" + host.release;
  }
  // A failure costs the time only.
  void recall() const { copy(known_, run_); }
  void remember() const { copy(run_, known_); }

 private:
  static void copy(const std::string& from, const std::string& to) {
    std::error_code ec;
    for (const auto& entry : std::filesystem::directory_iterator(from, ec)) {
      const std::string name = entry.path().filename().string();
      if (!name.ends_with("-true") && !name.ends_with("-false")) continue;
      if (sys::make_dirs(to) && !sys::path_exists(to + "/" + name))
        (void)sys::write_file(to + "/" + name, "");
    }
  }

  std::string run_;
  std::string known_;
};

// buildah with its storage in our cache and nothing of the host's configuration.
std::vector<std::string> buildah(const Shop& shop, const std::string& storage) {
  return {"buildah",
          "--root",
          storage,
          "--runroot",
          shop.job.work_dir + "/run",
          "--storage-driver",
          storage_driver(storage)};
}

std::vector<std::string> build_arguments(const Shop& shop, const std::string& name) {
  const spec::SourceSpec& source = shop.job.manifest.source;
  std::vector<std::string> out = {"build",
                                  "--layers",
                                  "--timestamp",
                                  "0",
                                  "--format",
                                  "oci",
                                  "--isolation",
                                  "oci",
                                  "--runtime",
                                  "runc",
                                  "--network",
                                  source.network ? "host" : "none",
                                  "--identity-label=false",
                                  "--tag",
                                  name};
  if (shop.job.refresh) out.insert(out.end(), {"--no-cache", "--pull-always"});
  if (!source.stage.empty()) out.insert(out.end(), {"--target", source.stage});
  for (const auto& [key, value] : source.build_args)
    out.insert(out.end(), {"--build-arg", key + "=" + value});
  return out;
}

}  // namespace

Result<SourceLayers> from_dockerfile(const Shop& shop, const std::string& dir) {
  if (::geteuid() != 0)
    return Error(Errc::kUnavailable, "Dockerfiles are built by root only")
        .with_hint("build it as root, or take an image from elsewhere: image = \"oci:DIR\"");
  const std::vector<Input> inputs = MVM_TRY(inputs_of(shop.job.manifest, shop.job.project));
  const std::string storage = shop.job.cache_dir + "/containers";
  MVM_TRY(sys::make_dirs(storage));
  MVM_TRY(sys::make_dirs(shop.job.work_dir + "/run"));
  const KnownOverlay overlay(shop);
  overlay.recall();
  const std::string name = "localhost/mvm:" + shop.job.source_key.substr(0, 32);
  std::vector<std::string> argv = buildah(shop, storage);
  for (const std::string& word : build_arguments(shop, name)) argv.push_back(word);
  argv.insert(argv.end(), {"--file", inputs[0].path, inputs[1].path});
  // Part of it writes there whatever TMPDIR says.
  const std::vector<std::string> scratch = {"/var/tmp"};
  MVM_TRY(run_tool(
      shop, {.step = "source", .argv = std::move(argv), .network = true, .writable = scratch}));
  overlay.remember();
  const std::string layout = dir + "/layout";
  argv = buildah(shop, storage);
  argv.insert(argv.end(),
              {"push", "--quiet", "--disable-compression", name, "oci:" + layout + ":" + kTag});
  MVM_TRY(run_tool(shop, {.step = "source", .argv = std::move(argv), .writable = scratch}));
  image::OciImage image = MVM_TRY(image::read_oci_layout(layout, kTag, shop.job.manifest.arch));
  return SourceLayers{std::move(image.layers), std::move(image.config), std::nullopt};
}

}  // namespace mvm::build
