// SPDX-License-Identifier: Apache-2.0
// The hidden verb `__assemble`: image assembly under fakeroot, called by image/assemble.cc.
#include "image/assemble.h"
#include "mvmctl/verbs.h"

namespace mvm::cli {

CommandSpec make_assemble_command() {
  auto plan = std::make_shared<std::string>();
  CommandSpec spec;
  spec.description = "Used by mvmctl itself.";
  spec.positionals = {{.name = "PLANFILE", .help = "what to assemble", .target = plan.get()}};
  spec.run = [plan](Context&) -> Result<int> { return image::assemble_main(*plan); };
  return spec;
}

}  // namespace mvm::cli
