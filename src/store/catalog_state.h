// SPDX-License-Identifier: Apache-2.0
// What a Catalog holds; included only by the catalog_*.cc files of store/.
#pragma once

#include "store/catalog.h"
#include "store/sqlite.h"

namespace mvm::store {

struct Catalog::State {
  Database db;  // null: no database yet, opened for reading
  // False for one opened for reading that an older mvm has made: it has no such table.
  bool has_snapshots = true;
  bool has_builds = true;      // since version 3
  bool has_signatures = true;  // since version 4; a column of images
};

// Ids and digests are lower-case hex, so a prefix that is not cannot match and is not searched for.
inline bool is_hex(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace mvm::store
