// SPDX-License-Identifier: Apache-2.0
// An image as other tools take it: an OCI archive with one layer.
//
// Source: OCI image-spec v1.1, image-layout.md. The same image gives the same bytes.
#pragma once

#include <string>

#include "core/result.h"
#include "image/progress.h"
#include "store/catalog.h"

namespace mvm::image {

struct OciExport {
  std::string image;     // the EROFS file
  std::string work_dir;  // existing and private, with room for the layer
  std::string output;    // the archive; replaced where it is there
  std::string tag;       // of the image in the archive
};

// Everything goes along: owners, modes, times, hard links, extended attributes, devices.
// Answers with the digest of the OCI manifest: "sha256:…".
// Errors: kCorrupt and kUnsupported for what is no image of mvm's; kNoSpace.
Result<std::string> export_oci_archive(const OciExport& what, const store::ImageRecord& record);

// The configuration as an OCI image has it. A sealed image's says "dev": what is exported has no
// seal. Errors: kCorrupt.
Result<std::string> oci_config(const store::ImageRecord& record, const std::string& layer_digest);

}  // namespace mvm::image
