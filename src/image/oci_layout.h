// SPDX-License-Identifier: Apache-2.0
// An OCI layout directory: finds the image in it and says which layer files make its tree.
//
// index.json is the only file taken as it is; every other document is read through its descriptor,
// with size and digest checked. Layers are checked while they are unpacked. Source: OCI image-spec
// v1.1, image-layout.md.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "image/unpack.h"
#include "spec/image_config.h"
#include "spec/vm_spec.h"

namespace mvm::image {

struct OciImage {
  std::string manifest_digest;  // "sha256:…"
  spec::ImageConfig config;
  std::vector<LayerFile> layers;  // with digests, whiteouts on
};

// Errors: kNotFound (no layout, no such tag), kCorrupt naming the digest, kUnsupported naming both
// architectures.
Result<OciImage> read_oci_layout(const std::string& dir, const std::string& tag, spec::Arch arch);

// The digest alone, for finding the image in the catalogue.
Result<std::string> oci_manifest_digest(const std::string& dir, const std::string& tag,
                                        spec::Arch arch);

}  // namespace mvm::image
