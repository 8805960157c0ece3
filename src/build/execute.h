// SPDX-License-Identifier: Apache-2.0
// A job, from its source to the EROFS file.
#pragma once

#include "build/source.h"
#include "build/tool.h"
#include "core/result.h"

namespace mvm::build {

// Steps source, overlay, assemble, and seal where the manifest wants it. Errors: those of the
// steps; the output is then not there.
Result<Built> execute(const Shop& shop);

// What runs in the image: the image's own, then the flake's, then the manifest's words. The label
// kGuestLabel has all of it. Pure. Errors: kInvalidArgument where they contradict each other.
struct Merged {
  spec::Manifest manifest;
  spec::ImageConfig config;
};
Result<Merged> merge(const spec::Manifest& manifest, const SourceLayers& source);

}  // namespace mvm::build
