// SPDX-License-Identifier: Apache-2.0
#include "image/oci_manifest.h"

#include <nlohmann/json.hpp>
#include <set>

#include "image/entry_path.h"
#include "image/limits.h"
#include "store/config_json.h"

namespace mvm::image {
namespace {

using nlohmann::json;

constexpr char kTagAnnotation[] = "org.opencontainers.image.ref.name";

Error bad(std::string_view document, std::string_view why) {
  return Error(Errc::kCorrupt, std::string(document) + ": " + std::string(why));
}

Result<json> parse_object(std::string_view text, std::string_view document, Bytes limit) {
  if (text.size() > limit.count) {
    return Error(Errc::kLimit, std::string(document) + " is larger than " + format_size(limit));
  }
  json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return bad(document, "not a JSON object");
  if (object.contains("schemaVersion") && object["schemaVersion"] != 2) {
    return Error(Errc::kUnsupported,
                 std::string(document) + " has schema version " +
                     object["schemaVersion"].dump(-1, ' ', true, json::error_handler_t::replace) +
                     ", only 2 is known");
  }
  return object;
}

std::string text_or_empty(const json& object, const char* member) {
  if (!object.is_object()) return "";
  const auto found = object.find(member);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Result<Descriptor> descriptor_of(const json& object, std::string_view document) {
  if (!object.is_object()) return bad(document, "a descriptor is not an object");
  Descriptor out;
  out.media_type = text_or_empty(object, "mediaType");
  out.digest = text_or_empty(object, "digest");
  if (!out.digest.starts_with("sha256:")) {
    return Error(Errc::kUnsupported,
                 std::string(document) + ": digest " + shown(out.digest) + " is not sha256");
  }
  if (out.digest.size() != 71 ||
      out.digest.find_first_not_of("0123456789abcdef", 7) != std::string::npos) {
    return bad(document, "digest " + shown(out.digest) + " is not 64 lower-case hex digits");
  }
  const auto size = object.find("size");
  if (size == object.end() || !size->is_number_unsigned())
    return bad(document, out.digest + " has no size");
  out.size = Bytes{size->get<std::uint64_t>()};
  if (const auto platform = object.find("platform"); platform != object.end()) {
    out.os = text_or_empty(*platform, "os");
    out.architecture = text_or_empty(*platform, "architecture");
  }
  if (const auto notes = object.find("annotations"); notes != object.end()) {
    out.tag = text_or_empty(*notes, kTagAnnotation);
  }
  return out;
}

Result<> check_layer(const Descriptor& layer) {
  if (layer.media_type.find("encrypted") != std::string::npos) {
    return Error(Errc::kUnsupported, "layer " + layer.digest + " is encrypted");
  }
  if (!layer.media_type.empty() && layer.media_type.find("tar") == std::string::npos) {
    return Error(Errc::kUnsupported,
                 "layer " + layer.digest + " is not a tar archive but " + shown(layer.media_type))
        .with_hint("this may be an artifact, not an image with a file system");
  }
  if (layer.size > kMaxLayerSize)
    return Error(Errc::kLimit, "layer " + layer.digest + " is larger than 64 GiB");
  return {};
}

std::string joined(const std::set<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

Result<std::vector<Descriptor>> with_tag(const std::vector<Descriptor>& entries,
                                         std::string_view tag) {
  if (tag.empty()) return entries;
  std::vector<Descriptor> out;
  std::set<std::string> tags;
  for (const Descriptor& entry : entries) {
    if (entry.tag == tag) out.push_back(entry);
    if (!entry.tag.empty()) tags.insert(shown(entry.tag));
  }
  if (!out.empty()) return out;
  return Error(Errc::kNotFound, "no image with the tag " + shown(tag) +
                                    (tags.empty() ? "" : "; there are: " + joined(tags)));
}

}  // namespace

bool Descriptor::is_index() const {
  return media_type == "application/vnd.oci.image.index.v1+json" ||
         media_type == "application/vnd.docker.distribution.manifest.list.v2+json";
}

std::string_view oci_arch(spec::Arch arch) {
  return arch == spec::Arch::kAarch64 ? "arm64" : "amd64";
}

Result<std::vector<Descriptor>> parse_index(std::string_view text) {
  const json object = MVM_TRY(parse_object(text, "image index", kMaxIndexSize));
  const auto list = object.find("manifests");
  if (list == object.end() || !list->is_array())
    return bad("image index", "has no list of manifests");
  std::vector<Descriptor> out;
  for (const json& item : *list) out.push_back(MVM_TRY(descriptor_of(item, "image index")));
  return out;
}

Result<Manifest> parse_manifest(std::string_view text) {
  const json object = MVM_TRY(parse_object(text, "image manifest", kMaxManifestSize));
  const auto config = object.find("config");
  const auto layers = object.find("layers");
  if (config == object.end()) return bad("image manifest", "has no config");
  if (layers == object.end() || !layers->is_array())
    return bad("image manifest", "has no list of layers");
  if (layers->size() > kMaxLayers) {
    return Error(Errc::kLimit, "image manifest: " + std::to_string(layers->size()) +
                                   " layers, the limit is " + std::to_string(kMaxLayers));
  }
  Manifest out;
  out.config = MVM_TRY(descriptor_of(*config, "image manifest"));
  for (const json& item : *layers) {
    out.layers.push_back(MVM_TRY(descriptor_of(item, "image manifest")));
    MVM_TRY(check_layer(out.layers.back()));
  }
  return out;
}

Result<ImageDocument> parse_image_document(std::string_view text) {
  const json object = MVM_TRY(parse_object(text, "image configuration", kMaxConfigSize));
  ImageDocument out;
  out.os = text_or_empty(object, "os");
  out.architecture = text_or_empty(object, "architecture");
  const auto config = object.find("config");
  if (config == object.end() || config->is_null()) return out;
  out.config = MVM_TRY(
      store::image_config_from_json(config->dump(-1, ' ', false, json::error_handler_t::replace)));
  return out;
}

Result<Descriptor> choose(const std::vector<Descriptor>& entries, std::string_view tag,
                          spec::Arch arch) {
  const std::vector<Descriptor> tagged = MVM_TRY(with_tag(entries, tag));
  if (tagged.empty()) return Error(Errc::kNotFound, "the image index is empty");
  if (tagged.size() == 1 && tagged[0].architecture.empty()) return tagged[0];
  std::set<std::string> platforms;
  std::set<std::string> tags;
  std::vector<Descriptor> fitting;
  for (const Descriptor& entry : tagged) {
    if (!entry.tag.empty()) tags.insert(shown(entry.tag));
    if (entry.architecture == "unknown") continue;  // an attestation, not an image
    if (!entry.architecture.empty()) platforms.insert(entry.os + "/" + entry.architecture);
    const bool fits =
        entry.architecture.empty() || (entry.os == "linux" && entry.architecture == oci_arch(arch));
    if (fits) fitting.push_back(entry);
  }
  if (fitting.size() == 1 ||
      (fitting.size() > 1 && tags.size() <= 1 && !fitting[0].architecture.empty())) {
    return fitting[0];
  }
  if (fitting.empty()) {
    return Error(Errc::kUnsupported, "the image is not made for linux/" +
                                         std::string(oci_arch(arch)) +
                                         "; it has: " + joined(platforms))
        .with_hint("choose one of these with --arch, or another image");
  }
  return Error(Errc::kInvalidArgument,
               "there are several images" + (tags.empty() ? "" : ": " + joined(tags)))
      .with_hint("add the tag of one of them, as in oci:DIR:TAG");
}

}  // namespace mvm::image
