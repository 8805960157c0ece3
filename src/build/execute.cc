// SPDX-License-Identifier: Apache-2.0
#include "build/execute.h"

#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "build/hash_tree.h"
#include "build/inputs.h"
#include "build/memory_dir.h"
#include "image/assemble.h"
#include "image/tar_file.h"
#include "spec/guest_label.h"
#include "spec/words.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/sha256.h"

namespace mvm::build {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint32_t kFileMode = 0644;

// The flake's guest with the manifest's words over it: tables are joined, lists and texts replaced.
Result<spec::Manifest> over_flake(const spec::Manifest& manifest, const spec::Manifest& flake) {
  Json joined = Json::parse(spec::guest_to_json(flake));
  const Json own = Json::parse(spec::guest_to_json(manifest));
  // Whoever says what runs says it alone.
  if (own.contains("entrypoint")) joined.erase("services");
  if (own.contains("services")) joined.erase("entrypoint"), joined.erase("health");
  Json files = joined.value("files", Json::array());
  for (const Json& file : own.value("files", Json::array())) files.push_back(file);
  joined.merge_patch(own);
  if (!files.empty()) joined["files"] = files;
  spec::Manifest out =
      MVM_TRY(spec::guest_from_json(joined.dump(), "the manifest over the flake's guest"));
  out.source = manifest.source;
  return out;
}

Result<> add_file(image::TarFile& tar, const spec::FileSpec& file, const std::string& project) {
  std::string path = std::filesystem::path(file.path).lexically_normal().string().substr(1);
  while (path.ends_with('/')) path.pop_back();
  if (path.empty() && file.from.empty())
    return Error(Errc::kInvalidArgument, "files: " + file.path + " is a directory");
  if (!file.link.empty()) return tar.symlink(path, file.link);
  if (file.text) return tar.file(path, file.mode.value_or(kFileMode), *file.text);
  const std::string source = (std::filesystem::path(project) / file.from).string();
  if (file.mode && !std::filesystem::is_directory(source))
    return tar.file_from(path, *file.mode, source);
  return tar.tree(path, source, is_left_out);
}

// The files of the manifest as one more layer; none when there are none.
Result<std::vector<image::LayerFile>> overlay(const Shop& shop, const spec::Manifest& manifest) {
  std::vector<image::LayerFile> out;
  if (manifest.files.empty()) return out;
  const std::string path = shop.job.work_dir + "/overlay.tar";
  image::TarFile tar = MVM_TRY(image::TarFile::create(path));
  for (const spec::FileSpec& file : manifest.files) MVM_TRY(add_file(tar, file, shop.job.project));
  MVM_TRY(tar.close());
  out.push_back({.path = path, .digest = {}, .size = {}});
  return out;
}

// Tells of a step and how long it took.
template <class Work>
auto timed(const Shop& shop, const char* step, const Work& work) {
  const Clock::time_point begun = Clock::now();
  shop.on_event({step, Event::State::kBegun, Millis(0)});
  auto result = work();
  if (result)
    shop.on_event(
        {step, Event::State::kDone, std::chrono::duration_cast<Millis>(Clock::now() - begun)});
  return result;
}

// As much as unpacking these may take: compressed layers grow to about three times their size.
Bytes unpacked_size(const std::vector<image::LayerFile>& layers) {
  constexpr std::uint64_t kGrowth = 3;
  Bytes out;
  for (const image::LayerFile& layer : layers) {
    std::error_code ec;
    const std::uint64_t size = std::filesystem::file_size(layer.path, ec);
    if (!ec) out.count += kGrowth * size;
  }
  return out;
}

Result<> assemble(const Shop& shop, image::AssemblePlan plan) {
  plan.work_dir = shop.job.work_dir;
  plan.output = shop.job.output;
  image::NoProgress progress;
  if (const auto memory = MemoryDir::mount(plan.work_dir + "/memory", unpacked_size(plan.layers))) {
    plan.tree = memory->path();
    if (image::assemble(plan, progress)) return {};
    // What memory has no room or attribute for, a disk may have; what fails there too is told.
    ::unlink(plan.output.c_str());
    plan.tree.clear();
  }
  return image::assemble(plan, progress);
}

}  // namespace

Result<Merged> merge(const spec::Manifest& manifest, const SourceLayers& source) {
  Merged out;
  out.manifest = source.guest ? MVM_TRY(over_flake(manifest, *source.guest)) : manifest;
  const spec::Manifest& m = out.manifest;
  out.config = source.config;
  spec::ImageConfig& config = out.config;
  if (!m.entrypoint.empty() || !m.services.empty()) {
    // Not as the entrypoint of containers, to which a given command is appended: `run . -- CMD`
    // runs CMD.
    config.entrypoint.clear();
    config.cmd = m.entrypoint;
  }
  for (const auto& [name, value] : m.env) spec::set_variable(config.env, name, value);
  if (!m.user.empty()) config.user = m.user;
  if (!m.working_dir.empty()) config.working_dir = m.working_dir;
  config.labels[spec::kGuestLabel] = spec::guest_label(m);
  return out;
}

Result<Built> execute(const Shop& shop) {
  const SourceLayers source = MVM_TRY(source_layers(shop));
  const Merged merged = MVM_TRY(merge(shop.job.manifest, source));
  image::AssemblePlan plan;
  plan.layers = source.layers;
  for (image::LayerFile& layer :
       MVM_TRY(timed(shop, "overlay", [&] { return overlay(shop, merged.manifest); })))
    plan.layers.push_back(std::move(layer));
  MVM_TRY(timed(shop, "assemble", [&] { return assemble(shop, std::move(plan)); }));
  Built built;
  if (merged.manifest.seal == spec::Seal::kSealed)
    built.verity =
        MVM_TRY(timed(shop, "seal", [&] { return append_hash_tree(shop, shop.job.output); }));
  built.digest = MVM_TRY(sys::sha256_file(shop.job.output));
  built.size = Bytes{std::filesystem::file_size(shop.job.output)};
  built.config = merged.config;
  return built;
}

}  // namespace mvm::build
