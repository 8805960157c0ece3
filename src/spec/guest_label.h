// SPDX-License-Identifier: Apache-2.0
// What an image that mvm has built says of its guest beyond what OCI images can say: a label of its
// configuration, so that it goes wherever the image goes.
#pragma once

#include <optional>
#include <string>

#include "core/result.h"
#include "spec/image_config.h"
#include "spec/manifest.h"

namespace mvm::spec {

inline constexpr char kGuestLabel[] = "mvm.guest";

// JSON without what was only needed to build: name, source and files.
std::string guest_label(const Manifest& manifest);

// Nothing for an image without the label. Errors: kCorrupt.
Result<std::optional<Manifest>> guest_of(const ImageConfig& config);

}  // namespace mvm::spec
