// SPDX-License-Identifier: Apache-2.0
// What the docker backend leaves with its daemon: images, and containers after a crash.
#pragma once

#include "core/result.h"
#include "core/units.h"
#include "store/layout.h"

namespace mvm::workflow {

// To be called before a machine of the docker backend is made: from then on there may be something.
Result<> expect_containers(const store::Layout& layout);

// Removes the containers of machines that are gone. A daemon that does not answer has none that
// run; the next start removes what it has left.
void sweep_containers(const store::Layout& layout);

// Removes the images that no container uses. Units: bytes. Nothing where there was never one.
// Errors: those of the daemon.
Result<Bytes> prune_containers(const store::Layout& layout, bool dry_run);

}  // namespace mvm::workflow
