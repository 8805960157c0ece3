// SPDX-License-Identifier: Apache-2.0
// What the calling thread may do beyond an ordinary user.
//
// Source: capabilities(7).
#pragma once

namespace mvm::sys {

// Whether we hold this capability (CAP_…, <linux/capability.h>) effectively.
bool has_capability(int capability);

}  // namespace mvm::sys
