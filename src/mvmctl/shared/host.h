// SPDX-License-Identifier: Apache-2.0
// This host, as the verbs that tell of it examine it.
#pragma once

#include "platform/collect.h"
#include "store/layout.h"

namespace mvm::cli {

// Where what is known of this host is remembered, and where mvm's own engine is. An incomplete
// installation has none; the rest is worth telling all the same.
platform::CollectOptions collect_options(const store::Layout& layout);

}  // namespace mvm::cli
