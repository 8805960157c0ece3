// SPDX-License-Identifier: Apache-2.0
#include "image/export/oci_export.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "image/export/layer_writer.h"
#include "image/oci_manifest.h"
#include "image/tar_file.h"
#include "spec/guest_label.h"
#include "store/config_json.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/sha256.h"

namespace mvm::image {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kLayerType[] = "application/vnd.oci.image.layer.v1.tar";
constexpr char kConfigType[] = "application/vnd.oci.image.config.v1+json";
constexpr char kManifestType[] = "application/vnd.oci.image.manifest.v1+json";
constexpr char kIndexType[] = "application/vnd.oci.image.index.v1+json";

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json descriptor(const char* type, const std::string& digest, std::uint64_t size) {
  return {{"mediaType", type}, {"digest", "sha256:" + digest}, {"size", size}};
}

std::string blob_name(const std::string& digest) { return "blobs/sha256/" + digest; }

// What is exported has no hash tree and no signature.
Result<spec::ImageConfig> unsealed(spec::ImageConfig config) {
  auto guest = MVM_TRY(spec::guest_of(config));
  if (!guest || guest->seal == spec::Seal::kDev) return config;
  guest->seal = spec::Seal::kDev;
  config.labels[spec::kGuestLabel] = spec::guest_label(*guest);
  return config;
}

}  // namespace

Result<std::string> oci_config(const store::ImageRecord& record, const std::string& layer_digest) {
  const std::string config = store::image_config_to_json(MVM_TRY(unsealed(record.config)));
  return dump({{"architecture", oci_arch(record.arch)},
               {"os", "linux"},
               {"config", Json::parse(config)},
               {"rootfs", {{"type", "layers"}, {"diff_ids", {"sha256:" + layer_digest}}}}});
}

Result<std::string> export_oci_archive(const OciExport& what, const store::ImageRecord& record) {
  if (MVM_TRY(sys::sha256_file(what.image)) != record.digest)
    return Error(Errc::kCorrupt, "the image's file is not what its name says: " + what.image)
        .with_hint("make it again: mvmctl image pull --force, or mvmctl build --force");
  const std::string layer = what.work_dir + "/layer.tar";
  MVM_TRY(write_layer(what.image, layer));
  const std::string layer_digest = MVM_TRY(sys::sha256_file(layer));
  const std::string config = MVM_TRY(oci_config(record, layer_digest));
  const std::string config_digest = sys::sha256_hex(config);
  const std::string manifest =
      dump({{"schemaVersion", 2},
            {"mediaType", kManifestType},
            {"config", descriptor(kConfigType, config_digest, config.size())},
            {"layers", {descriptor(kLayerType, layer_digest, std::filesystem::file_size(layer))}}});
  const std::string manifest_digest = sys::sha256_hex(manifest);
  Json entry = descriptor(kManifestType, manifest_digest, manifest.size());
  entry["platform"] = {{"architecture", oci_arch(record.arch)}, {"os", "linux"}};
  if (!what.tag.empty()) entry["annotations"] = {{"org.opencontainers.image.ref.name", what.tag}};
  std::string temp = what.output + ".XXXXXX";
  const sys::UniqueFd made(::mkostemp(temp.data(), O_CLOEXEC));
  if (!made || ::fchmod(made.get(), 0644) != 0) return Error::from_errno("create " + what.output);
  sys::ScopeGuard cleanup([&] { ::unlink(temp.c_str()); });
  TarFile tar = MVM_TRY(TarFile::create(temp));
  MVM_TRY(tar.file("oci-layout", 0644, R"({"imageLayoutVersion":"1.0.0"})"));
  MVM_TRY(
      tar.file("index.json", 0644,
               dump({{"schemaVersion", 2}, {"mediaType", kIndexType}, {"manifests", {entry}}})));
  MVM_TRY(tar.directory("blobs", 0755));
  MVM_TRY(tar.directory("blobs/sha256", 0755));
  MVM_TRY(tar.file(blob_name(config_digest), 0644, config));
  MVM_TRY(tar.file(blob_name(manifest_digest), 0644, manifest));
  MVM_TRY(tar.file_from(blob_name(layer_digest), 0644, layer));
  MVM_TRY(tar.close());
  MVM_TRY(sys::sync_path(temp));
  if (::rename(temp.c_str(), what.output.c_str()) != 0) return Error::from_errno("rename " + temp);
  cleanup.dismiss();
  return "sha256:" + manifest_digest;
}

}  // namespace mvm::image
