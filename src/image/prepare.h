// SPDX-License-Identifier: Apache-2.0
// From a source to the layers on this disk that its image is assembled from.
#pragma once

#include <string>

#include "core/result.h"
#include "image/assemble.h"
#include "image/progress.h"
#include "image/pull.h"
#include "image/source.h"
#include "spec/image_config.h"

namespace mvm::image {

// What is known of an image before it is assembled.
struct Prepared {
  AssemblePlan plan;
  spec::ImageConfig config;
  std::string source_digest;  // of an OCI image's manifest, or empty
};

// Brings what the source names onto this disk, below the private directory `work` as far as it is
// not there already, and says how to make the image from it. Errors: those of the fetching tools.
Result<Prepared> prepare(const Source& source, const PullRequest& request, const std::string& work,
                         Progress& progress);

}  // namespace mvm::image
