// SPDX-License-Identifier: Apache-2.0
// `mvmctl __man DIR`: used by the build.
#include "cli/man.h"
#include "cli/own_verbs.h"
#include "sys/io.h"

namespace mvm::cli {

CommandSpec make_man_command() {
  auto directory = std::make_shared<std::string>();
  CommandSpec spec;
  spec.description = "Writes mvmctl.1 and one mvmctl-VERB.1 per verb.";
  spec.positionals = {
      {.name = "DIR", .help = "where to; made when missing", .target = directory.get()}};
  spec.run = [directory](Context& context) -> Result<int> {
    constexpr unsigned kMode = 0644;
    MVM_TRY(sys::make_dirs(*directory, 0755));
    MVM_TRY(sys::write_file(*directory + "/mvmctl.1", man_overview(context.verbs), kMode));
    for (const VerbEntry& verb : context.verbs) {
      if (verb.group.empty()) continue;
      const std::string path = *directory + "/mvmctl-" + std::string(verb.name) + ".1";
      MVM_TRY(sys::write_file(path, man_page(make_spec(verb)), kMode));
    }
    return 0;
  };
  return spec;
}

}  // namespace mvm::cli
