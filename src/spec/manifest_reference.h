// SPDX-License-Identifier: Apache-2.0
// The reference of mvm.toml for people, from the schema that the parser reads by.
#pragma once

#include <string>

namespace mvm::spec {

// docs/formats/manifest.md, as Markdown: a table of keys for each table of the manifest.
std::string manifest_reference();

}  // namespace mvm::spec
