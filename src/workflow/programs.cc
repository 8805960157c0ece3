// SPDX-License-Identifier: Apache-2.0
#include "workflow/programs.h"

#include <unistd.h>

#include "sys/process.h"

namespace mvm::workflow {

Result<Programs> find_programs() {
  const std::string prefix = MVM_TRY(sys::executable_dir()) + "/..";
  const std::string dir = prefix + "/libexec/mvm";
  Programs out{dir,
               dir + "/mvm-supervisor",
               dir + "/mvm-agent",
               dir + "/mvm-netd",
               dir + "/mvm-vmm",
               dir + "/mvm-jailer",
               dir + "/mvm-build",
               dir + "/mvm-docker",
               prefix + "/share/mvm/nix",
               prefix + "/share/mvm/kernel"};
  for (const std::string& program :
       {out.supervisor, out.agent, out.netd, out.vmm, out.jailer, out.build}) {
    if (::access(program.c_str(), R_OK) != 0)
      return Error(Errc::kNotFound, program + " is missing")
          .with_hint("install mvm again: its parts belong together");
  }
  return out;
}

}  // namespace mvm::workflow
