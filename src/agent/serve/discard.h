// SPDX-License-Identifier: Apache-2.0
// Readers for programs that have outlived theirs: in a restored machine the host that read their
// output is gone, and a pipe without a reader would end them.
#pragma once

#include <vector>

#include "sys/unique_fd.h"

namespace mvm::agent {

// Reads and forgets what comes from these descriptors, in a child of its own that ends with the
// last of them. Does nothing for none. When no child can be made they are closed.
void discard_outputs(std::vector<sys::UniqueFd> outputs);

}  // namespace mvm::agent
