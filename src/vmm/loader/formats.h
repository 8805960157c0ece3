// SPDX-License-Identifier: Apache-2.0
// The two kernel formats, behind load_kernel.
#pragma once

#include "vmm/loader/file.h"
#include "vmm/loader/loader.h"

namespace mvm::vmm {

Result<LoadedKernel> load_elf(const GuestMemory& memory, const LoaderFile& file);
Result<LoadedKernel> load_bzimage(const GuestMemory& memory, const LoaderFile& file);

}  // namespace mvm::vmm
