// SPDX-License-Identifier: Apache-2.0
// The JSON documents of an OCI image, checked and reduced to what mvm needs. Pure; the text is
// untrusted.
//
// Source: OCI image-spec v1.1, descriptor.md, image-index.md, manifest.md, config.md. Docker's
// schema 2 media types are read the same way.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/units.h"
#include "spec/image_config.h"
#include "spec/vm_spec.h"

namespace mvm::image {

// A blob by digest and size. parse_*() guarantee "sha256:" and 64 lower-case hex digits.
struct Descriptor {
  std::string media_type;
  std::string digest;
  Bytes size;
  std::string os;            // of an index entry, "" when it has no platform
  std::string architecture;  // in Go's words: "amd64"
  std::string tag;           // annotation org.opencontainers.image.ref.name

  bool is_index() const;
};

struct Manifest {
  Descriptor config;
  std::vector<Descriptor> layers;  // lowest first
};

struct ImageDocument {
  std::string os;
  std::string architecture;
  spec::ImageConfig config;
};

// Errors: kCorrupt naming the document and member; kLimit; kUnsupported for other hashes and
// encrypted or foreign layers.
Result<std::vector<Descriptor>> parse_index(std::string_view text);
Result<Manifest> parse_manifest(std::string_view text);
Result<ImageDocument> parse_image_document(std::string_view text);

// "amd64", "arm64"
std::string_view oci_arch(spec::Arch arch);

// The entry with this tag; without a tag, the only one, or the only one for the architecture.
// Errors: kNotFound naming the tags there are; kUnsupported naming the architectures there are.
Result<Descriptor> choose(const std::vector<Descriptor>& entries, std::string_view tag,
                          spec::Arch arch);

}  // namespace mvm::image
