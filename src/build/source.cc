// SPDX-License-Identifier: Apache-2.0
#include "build/source.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "build/inputs.h"
#include "image/host_trees.h"
#include "image/prepare.h"
#include "image/tar_file.h"
#include "store/config_json.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::build {
namespace {

using Json = nlohmann::ordered_json;
using Kind = spec::SourceSpec::Kind;

constexpr char kRecord[] = "source.json";
constexpr char kFresh[] = "new-";
constexpr char kOld[] = "old-";

// ---- the cache: DIR/sources/KEY/source.json names the layers that lie beside it

Result<> write_record(const std::string& dir, const SourceLayers& source) {
  Json layers = Json::array();
  for (const image::LayerFile& layer : source.layers) {
    layers.push_back({{"path", std::filesystem::path(layer.path).lexically_relative(dir).string()},
                      {"digest", layer.digest},
                      {"size_bytes", layer.size.count},
                      {"whiteouts", layer.whiteouts}});
  }
  Json record = {{"layers", layers},
                 {"config", Json::parse(store::image_config_to_json(source.config))}};
  if (source.guest) record["guest"] = Json::parse(spec::guest_to_json(*source.guest));
  return sys::write_atomic(dir + "/" + kRecord,
                           record.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Result<SourceLayers> read_record(const std::string& dir) {
  const Json record = Json::parse(MVM_TRY(sys::read_file(dir + "/" + kRecord)), nullptr, false);
  const Error damaged(Errc::kCorrupt, dir + " is damaged");
  if (!record.is_object() || !record.value("layers", Json()).is_array()) return damaged;
  SourceLayers out;
  for (const Json& layer : record["layers"]) {
    if (!layer.is_object() || !layer.value("size_bytes", Json()).is_number_unsigned() ||
        !layer.value("path", Json()).is_string())
      return damaged;
    out.layers.push_back({dir + "/" + layer["path"].get<std::string>(), layer.value("digest", ""),
                          Bytes{layer["size_bytes"].get<std::uint64_t>()},
                          layer.value("whiteouts", Json()) == true});
    if (!sys::path_exists(out.layers.back().path)) return damaged;
  }
  out.config =
      MVM_TRY(store::image_config_from_json(record.value("config", Json::object()).dump()));
  if (record.contains("guest"))
    out.guest = MVM_TRY(spec::guest_from_json(record["guest"].dump(), kRecord));
  return out;
}

Result<SourceLayers> make(const Shop& shop, const std::string& dir) {
  switch (shop.job.manifest.source.kind) {
    case Kind::kDir:
      return from_directory(shop, dir);
    case Kind::kImage:
      return from_image(shop, dir);
    case Kind::kDebian:
      return from_debian(shop, dir);
    case Kind::kDockerfile:
      return from_dockerfile(shop, dir);
    case Kind::kFlake:
      return from_flake(shop, dir);
  }
  return Error(Errc::kUnsupported, "a source of an unknown kind");
}

// What lies on this disk anyway is not kept a second time.
bool is_kept(const spec::SourceSpec& source) {
  if (source.kind != Kind::kImage) return source.kind != Kind::kDir;
  const auto parsed = image::parse_source(source.what);
  return parsed && parsed->path.empty() && parsed->kind != image::SourceKind::kBusybox;
}

// What builds that were killed have left. Nothing while another one runs.
Result<> remove_unfinished(const std::string& sources) {
  const auto alone = MVM_TRY(sys::FileLock::try_acquire(sources + "/lock"));
  if (!alone) return {};
  for (const std::string& path : sys::children(sources)) {
    const std::string name = std::filesystem::path(path).filename().string();
    if (name.starts_with(kFresh) || name.starts_with(kOld)) MVM_TRY(sys::remove_tree(path));
  }
  return {};
}

}  // namespace

Result<SourceLayers> source_layers(const Shop& shop) {
  const Clock::time_point begun = Clock::now();
  const auto done = [&](Event::State state) {
    shop.on_event({"source", state, std::chrono::duration_cast<Millis>(Clock::now() - begun)});
  };
  shop.on_event({"source", Event::State::kBegun, Millis(0)});
  if (!is_kept(shop.job.manifest.source)) {
    const std::string dir = shop.job.work_dir + "/source";
    MVM_TRY(sys::make_dirs(dir));
    SourceLayers made = MVM_TRY(make(shop, dir));
    done(Event::State::kDone);
    return made;
  }
  const std::string sources = shop.job.cache_dir + "/sources";
  const std::string kept = sources + "/" + shop.job.source_key;
  MVM_TRY(sys::make_dirs(sources));
  MVM_TRY(remove_unfinished(sources));
  const sys::FileLock in_use = MVM_TRY(sys::FileLock::acquire_shared(sources + "/lock"));
  if (!shop.job.refresh && sys::path_exists(kept + "/" + kRecord)) {
    if (auto known = read_record(kept)) {
      done(Event::State::kCached);
      return known;
    }
  }
  sys::TempDir fresh = MVM_TRY(sys::TempDir::create(sources, kFresh));
  const SourceLayers made = MVM_TRY(make(shop, fresh.path()));
  MVM_TRY(write_record(fresh.path(), made));
  // What is there is an older one or another build's of the same, perhaps in use: it is moved out
  // of the way and removed when no build runs.
  if (sys::path_exists(kept)) {
    const std::string old = MVM_TRY(sys::TempDir::create(sources, kOld)).keep();
    (void)std::rename(kept.c_str(), (old + "/source").c_str());
  }
  if (std::rename(fresh.path().c_str(), kept.c_str()) != 0 && errno != ENOTEMPTY && errno != EEXIST)
    return Error::from_errno("rename " + fresh.path());
  done(Event::State::kDone);
  return read_record(kept);
}

Result<SourceLayers> from_directory(const Shop& shop, const std::string& dir) {
  const std::vector<Input> inputs = MVM_TRY(inputs_of(shop.job.manifest, shop.job.project));
  const std::string path = dir + "/tree.tar";
  image::TarFile tar = MVM_TRY(image::TarFile::create(path));
  MVM_TRY(tar.tree("", inputs.front().path, is_left_out));
  MVM_TRY(tar.close());
  SourceLayers out;
  out.layers = {{.path = path, .digest = {}, .size = {}}};
  out.config = image::host_tree_config();
  return out;
}

Result<SourceLayers> from_image(const Shop& shop, const std::string& dir) {
  const spec::Manifest& manifest = shop.job.manifest;
  const image::Source source =
      image::absolute_source(MVM_TRY(image::parse_source(manifest.source.what)), shop.job.project);
  if (source.kind == image::SourceKind::kDirectory) return from_directory(shop, dir);
  image::NoProgress progress;
  image::PullRequest request;
  request.source = manifest.source.what;
  request.arch = manifest.arch;
  image::Prepared prepared = MVM_TRY(image::prepare(source, request, dir, progress));
  return SourceLayers{std::move(prepared.plan.layers), std::move(prepared.config), std::nullopt};
}

}  // namespace mvm::build
