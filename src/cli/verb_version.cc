// SPDX-License-Identifier: Apache-2.0
#include "cli/own_verbs.h"
#include "cli/version.h"

namespace mvm::cli {

std::string_view version() { return MVM_VERSION; }

CommandSpec make_version_command() {
  CommandSpec spec;
  spec.description = "Prints the version of mvmctl.";
  spec.examples = {{"mvmctl version --json", "the same for programs"}};
  spec.run = [](Context& context) -> Result<int> {
    if (context.json) {
      context.print_json(1, Json::object().set("name", "mvmctl").set("version", version()));
    } else {
      context.print("mvmctl " + std::string(version()) + "\n");
    }
    return 0;
  };
  return spec;
}

}  // namespace mvm::cli
