// SPDX-License-Identifier: Apache-2.0
#include "image/oci_layout.h"

#include "image/limits.h"
#include "image/oci_manifest.h"
#include "sys/io.h"
#include "sys/sha256.h"

namespace mvm::image {
namespace {

std::string blob_file(const std::string& dir, const Descriptor& blob) {
  return dir + "/blobs/sha256/" + blob.digest.substr(7);
}

Result<std::string> read_blob(const std::string& dir, const Descriptor& blob, Bytes limit) {
  if (blob.size > limit) {
    return Error(Errc::kLimit, "blob " + blob.digest + " is larger than " + format_size(limit));
  }
  auto text = sys::read_file(blob_file(dir, blob), limit);
  if (!text.has_value() && text.error().code() == Errc::kNotFound) {
    return Error(Errc::kCorrupt, "blob " + blob.digest + " is missing in " + dir);
  }
  if (!text.has_value()) return std::move(text).error();
  if (text->size() != blob.size.count) {
    return Error(Errc::kCorrupt, "blob " + blob.digest + " has " + std::to_string(text->size()) +
                                     " bytes, its descriptor says " +
                                     std::to_string(blob.size.count));
  }
  const std::string actual = "sha256:" + sys::sha256_hex(*text);
  if (actual != blob.digest) {
    return Error(Errc::kCorrupt,
                 "digest mismatch: blob " + blob.digest + " has the content of " + actual)
        .with_hint("the image is damaged or was tampered with; fetch it again");
  }
  return text;
}

// Follows nested indexes down to the manifest for the architecture.
Result<Descriptor> find_manifest(const std::string& dir, const std::string& tag, spec::Arch arch) {
  auto index = sys::read_file(dir + "/index.json", kMaxIndexSize);
  if (!index.has_value() && index.error().code() == Errc::kNotFound) {
    return Error(Errc::kNotFound, dir + " is not an OCI layout: it has no index.json");
  }
  if (!index.has_value()) return std::move(index).error();
  std::string text = std::move(*index);
  std::string wanted = tag;
  for (std::size_t depth = 0; depth < kMaxIndexNesting; ++depth) {
    const std::vector<Descriptor> entries = MVM_TRY(parse_index(text));
    Descriptor chosen = MVM_TRY(choose(entries, wanted, arch));
    if (!chosen.is_index()) return chosen;
    text = MVM_TRY(read_blob(dir, chosen, kMaxIndexSize));
    wanted.clear();
  }
  return Error(Errc::kLimit,
               "image indexes are nested deeper than " + std::to_string(kMaxIndexNesting));
}

Result<> check_platform(const ImageDocument& document, spec::Arch arch) {
  const std::string_view wanted = oci_arch(arch);
  if (!document.os.empty() && document.os != "linux") {
    return Error(Errc::kUnsupported, "the image is made for " + document.os + ", not for linux");
  }
  if (document.architecture.empty() || document.architecture == wanted) return {};
  return Error(Errc::kUnsupported, "the image is made for linux/" + document.architecture +
                                       ", the machine is linux/" + std::string(wanted))
      .with_hint("fetch the image for this architecture, or choose another with --arch");
}

}  // namespace

Result<std::string> oci_manifest_digest(const std::string& dir, const std::string& tag,
                                        spec::Arch arch) {
  return MVM_TRY_CTX(find_manifest(dir, tag, arch), "OCI layout " + dir).digest;
}

Result<OciImage> read_oci_layout(const std::string& dir, const std::string& tag, spec::Arch arch) {
  const std::string frame = "OCI layout " + dir;
  const Descriptor found = MVM_TRY_CTX(find_manifest(dir, tag, arch), frame);
  const std::string text = MVM_TRY_CTX(read_blob(dir, found, kMaxManifestSize), frame);
  const Manifest manifest = MVM_TRY_CTX(parse_manifest(text), frame);
  const std::string config = MVM_TRY_CTX(read_blob(dir, manifest.config, kMaxConfigSize), frame);
  const ImageDocument document = MVM_TRY_CTX(parse_image_document(config), frame);
  MVM_TRY_CTX(check_platform(document, arch), frame);
  OciImage image{.manifest_digest = found.digest, .config = document.config, .layers = {}};
  for (const Descriptor& layer : manifest.layers) {
    const std::string path = blob_file(dir, layer);
    if (!sys::path_exists(path)) {
      return Error(Errc::kCorrupt, "layer " + layer.digest + " is missing").with_context(frame);
    }
    image.layers.push_back(LayerFile{path, layer.digest, layer.size, true});
  }
  return image;
}

}  // namespace mvm::image
