// SPDX-License-Identifier: Apache-2.0
#include "mvmctl/shared/host.h"

#include "workflow/programs.h"

namespace mvm::cli {

platform::CollectOptions collect_options(const store::Layout& layout) {
  platform::CollectOptions options;
  options.cache_dir = layout.cache_dir;
  options.data_dir = layout.data_dir;
  if (const auto programs = workflow::find_programs()) options.program_dir = programs->directory;
  return options;
}

}  // namespace mvm::cli
