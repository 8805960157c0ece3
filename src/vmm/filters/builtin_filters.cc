// SPDX-License-Identifier: Apache-2.0
#include "vmm/filters/builtin_filters.h"

#include "builtin_filters_table.h"

namespace mvm::vmm {

SeccompFilter builtin_filter(ThreadRole role) {
  switch (role) {
    case ThreadRole::kSetup:
      return SeccompFilter::for_this_process(kSetupProgram, kSetupOwnProcess);
    case ThreadRole::kMain:
      return SeccompFilter::for_this_process(kMainProgram, kMainOwnProcess);
    case ThreadRole::kVcpu:
      break;
  }
  return SeccompFilter::for_this_process(kVcpuProgram, kVcpuOwnProcess);
}

}  // namespace mvm::vmm
