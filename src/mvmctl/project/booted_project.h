// SPDX-License-Identifier: Apache-2.0
// `run PATH` and `up PATH`: the project that is booted in the place of an image.
#pragma once

#include <optional>

#include "cli/context.h"
#include "core/result.h"
#include "mvmctl/shared/machine_options.h"
#include "store/layout.h"
#include "workflow/config.h"

namespace mvm::cli {

// The current revision of the project that IMAGE names (it then begins with . or /), or that lies
// around the current directory when neither command line nor configuration name an image; nothing
// otherwise. A note says when the project has changed since. With --build it is built first.
// Errors: kNotFound for a project that was not built; those of the build.
Result<std::optional<BootedProject>> booted_project(Context& context, const store::Layout& layout,
                                                    const MachineOptions& options,
                                                    const workflow::Config& config);

}  // namespace mvm::cli
