// SPDX-License-Identifier: Apache-2.0
// What a Nix store knows of a path without `nix`, whose start takes longer than many a build.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"

namespace mvm::build {

// The path and all that it refers to, directly or not, sorted: what `nix path-info --recursive`
// says. `store` is the root below which nix/var/nix/db lies. Errors: kNotFound when the path is
// not there; any other when the database is not one of schema 10, the only one since Nix 1.12.
// Source: Nix 2.8, src/libstore/schema.sql.
Result<std::vector<std::string>> nix_closure(const std::string& store, const std::string& path);

}  // namespace mvm::build
