// SPDX-License-Identifier: Apache-2.0
// Scratch disks: sparse ext4 files that take a machine's writes, copied from an empty formatted
// template.
#pragma once

#include <string>

#include "core/result.h"
#include "core/units.h"

namespace mvm::workflow {

struct ScratchRequest {
  std::string path;          // to be made
  std::string template_dir;  // cache of templates
  Bytes size = gibibytes(8);
  // A disk that is thrown away needs no journal: nobody mounts it a second time.
  bool durable = true;
};

// Errors: kUnavailable without mke2fs, kNoSpace; nothing is left behind.
Result<> make_scratch(const ScratchRequest& request);

}  // namespace mvm::workflow
