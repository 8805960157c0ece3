// SPDX-License-Identifier: Apache-2.0
// Debian's kernel package: found, downloaded and unpacked by the system's own tools, never
// installed.
#pragma once

#include <string>

#include "core/result.h"
#include "core/units.h"
#include "kernel/obtain.h"

namespace mvm::kernel {

// Larger is no kernel.
inline constexpr Bytes kMaxKernelImage = mebibytes(512);

// The package to look up: "linux-image-cloud-amd64:amd64".
std::string meta_package(spec::Arch arch);

// The first "Depends: PREFIX…" of `apt-cache depends` output; empty when there is none.
std::string first_kernel_dependency(std::string_view apt_cache_output,
                                    std::string_view prefix = "linux-image-");

// The package of the kernel's source: "linux-source-6.1". Errors: kNotFound.
Result<std::string> find_source_package();

// The file that download_package() would leave: "linux-source-6.1_6.1.192-2_all.deb".
Result<std::string> candidate_file(const std::string& package);

// Errors: kIo with apt's words; kNoSpace.
Result<> download_package(const std::string& directory, const std::string& package,
                          const ObtainOptions& options);

// The only name in `directory` that starts and ends so. Errors: kCorrupt.
Result<std::string> only_entry(const std::string& directory, std::string_view prefix,
                               std::string_view suffix);

// Writes the bootable image to tree/vmlinux, and path, digest and size of it into `kernel`.
Result<> place_image(std::string_view image, const std::string& tree, Kernel& kernel);

// Fetches and unpacks the current kernel package below `work_dir` and leaves there `tree/` with
// vmlinux, config, lib/modules/REL (indexed by depmod) and kernel.json, and nothing else. The paths
// of the result lie in it.
Result<Kernel> fetch_package(const std::string& work_dir, spec::Arch arch,
                             const ObtainOptions& options);

}  // namespace mvm::kernel
