// SPDX-License-Identifier: Apache-2.0
// ImageConfig as JSON text, in the form of the "config" object of an OCI image configuration.
//
// The same reader serves the catalogue and the OCI layout reader. Source: OCI image-spec v1.1,
// config.md.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "spec/image_config.h"

namespace mvm::store {

// Bytes that are not UTF-8 are replaced by U+FFFD.
std::string image_config_to_json(const spec::ImageConfig& config);

// Unknown members are ignored, null and missing members are empty.
// Errors: kCorrupt naming the member when its type is wrong or a string holds a NUL.
Result<spec::ImageConfig> image_config_from_json(std::string_view text);

}  // namespace mvm::store
