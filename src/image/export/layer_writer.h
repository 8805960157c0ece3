// SPDX-License-Identifier: Apache-2.0
// The tree of an image as a tar file, in the order of its names.
#pragma once

#include <string>

#include "core/result.h"

namespace mvm::image {

// Errors: those of ErofsReader; kNoSpace and kIo naming `output`.
Result<> write_layer(const std::string& image, const std::string& output);

}  // namespace mvm::image
