// SPDX-License-Identifier: Apache-2.0
// SQLite databases of other programs, read only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace mvm::store {

// The first column of what the query yields, with this text as its only parameter.
// Errors: SQLite's, for a database that is not there, is locked for 10 s, or has other tables.
Result<std::vector<std::string>> read_column(const std::string& database, std::string_view query,
                                             std::string_view parameter);

}  // namespace mvm::store
