// SPDX-License-Identifier: Apache-2.0
// Images that are carried elsewhere as bundles (docs/formats/bundle.md).
#pragma once

#include <string>

#include "core/result.h"
#include "seal/bundle.h"
#include "store/catalog.h"
#include "store/layout.h"

namespace mvm::workflow {

struct ExportRequest {
  std::string image;  // a build by name, tag or revision, a project's path, or an image's name
  std::string file;   // "web.mvmpkg"; replaced where it is there
  std::string key;    // that signs; empty: see signing_key(). A sealed image keeps its signature
};

// Errors: kNotFound; kCorrupt when the image's file is not what its name says; kNoSpace.
Result<seal::Manifest> export_bundle(const store::Layout& layout, const ExportRequest& request);

struct Verified {
  seal::Bundle bundle;
  std::string signer;  // name of the trusted key
};

// Reads all of a bundle. Errors: those of open_bundle() and trusted_signer(); kCorrupt.
Result<Verified> verify_bundle(const store::Layout& layout, const std::string& file);

// The same, and the image is here then. `ref` is its name; empty: "bundle:NAME@REVISION".
Result<store::ImageRecord> import_bundle(const store::Layout& layout, const std::string& file,
                                         const std::string& ref);

}  // namespace mvm::workflow
