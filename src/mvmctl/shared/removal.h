// SPDX-License-Identifier: Apache-2.0
// `rm` of things by name.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "core/result.h"
#include "store/layout.h"

namespace mvm::cli {

// Removes one after the other and prints each name when it is gone. The first failure ends it.
Result<int> remove_each(
    Context& context, const std::vector<std::string>& names,
    const std::function<Result<>(const store::Layout&, const std::string&)>& remove);

}  // namespace mvm::cli
