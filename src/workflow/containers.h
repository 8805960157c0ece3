// SPDX-License-Identifier: Apache-2.0
// What the docker backend leaves with its daemon: images, and containers after a crash.
#pragma once

#include <functional>
#include <string>

#include "core/result.h"
#include "core/units.h"
#include "store/layout.h"

namespace mvm::workflow {

// Gives the daemon an image, once: to be called before a machine of the docker backend is made,
// whose start has a deadline. One that was removed behind our back is given again by the start
// itself. Errors: those of the daemon.
Result<> import_image(const store::Layout& layout, const std::string& digest,
                      const std::function<void(const std::string&)>& on_step);

// Removes the containers of machines that are gone. A daemon that does not answer has none that
// run; the next start removes what it has left.
void sweep_containers(const store::Layout& layout);

// Removes the images that no container uses. Units: bytes. Nothing where there was never one.
// Errors: those of the daemon.
Result<Bytes> prune_containers(const store::Layout& layout, bool dry_run);

}  // namespace mvm::workflow
