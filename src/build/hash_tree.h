// SPDX-License-Identifier: Apache-2.0
// The hash tree of a sealed image, in one file with it.
#pragma once

#include <string>

#include "build/tool.h"
#include "core/result.h"
#include "seal/manifest.h"

namespace mvm::build {

// Appends to an EROFS file what dm-verity checks it against, by veritysetup. The salt is made of
// the content, so that the same image gives the same file. Errors: those of run_tool().
Result<seal::Verity> append_hash_tree(const Shop& shop, const std::string& image);

// From what `veritysetup format` prints; empty when it is not there. Pure.
std::string root_hash_in(std::string_view output);

}  // namespace mvm::build
