// SPDX-License-Identifier: Apache-2.0
// Debian's kernel package: found, downloaded and unpacked by the system's own tools, never
// installed.
#pragma once

#include <string>

#include "core/result.h"
#include "kernel/obtain.h"

namespace mvm::kernel {

// The package to look up: "linux-image-cloud-amd64:amd64".
std::string meta_package(spec::Arch arch);

// The first "Depends: linux-image-…" of `apt-cache depends` output; empty when there is none.
std::string first_kernel_dependency(std::string_view apt_cache_output);

// Fetches and unpacks the current kernel package below `work_dir` and leaves there `tree/` with
// vmlinux, config, lib/modules/REL (indexed by depmod) and kernel.json, and nothing else. The paths
// of the result lie in it.
Result<Kernel> fetch_package(const std::string& work_dir, spec::Arch arch,
                             const ObtainOptions& options);

}  // namespace mvm::kernel
