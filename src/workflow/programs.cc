// SPDX-License-Identifier: Apache-2.0
#include "workflow/programs.h"

#include <unistd.h>

#include "sys/process.h"

namespace mvm::workflow {

Result<Programs> find_programs() {
  const std::string dir = MVM_TRY(sys::executable_dir()) + "/../libexec/mvm";
  Programs out{dir,
               dir + "/mvm-supervisor",
               dir + "/mvm-agent",
               dir + "/mvm-netd",
               dir + "/mvm-vmm",
               dir + "/mvm-jailer"};
  for (const std::string& program : {out.supervisor, out.agent, out.netd, out.vmm, out.jailer}) {
    if (::access(program.c_str(), R_OK) != 0)
      return Error(Errc::kNotFound, program + " is missing")
          .with_hint("install mvm again: its parts belong together");
  }
  return out;
}

}  // namespace mvm::workflow
