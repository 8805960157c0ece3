// SPDX-License-Identifier: Apache-2.0
#include "cli/completion.h"
#include "cli/own_verbs.h"

namespace mvm::cli {

CommandSpec make_completion_command() {
  auto shell = std::make_shared<std::string>();
  CommandSpec spec;
  spec.description =
      "Prints a script that teaches a shell to complete mvmctl's verbs, options, machine and image "
      "names. "
      "Packages install it; by hand:\n"
      "\n"
      "  bash:  source <(mvmctl completion bash)\n"
      "  zsh:   mvmctl completion zsh > ~/.zfunc/_mvmctl\n"
      "  fish:  mvmctl completion fish > ~/.config/fish/completions/mvmctl.fish";
  spec.positionals = {{.name = "SHELL",
                       .help = "the shell",
                       .target = shell.get(),
                       .choices = {"bash", "zsh", "fish"}}};
  spec.run = [shell](Context& context) -> Result<int> {
    const std::string script = *shell == "bash"  ? bash_completion(context.verbs)
                               : *shell == "zsh" ? zsh_completion(context.verbs)
                                                 : fish_completion(context.verbs);
    if (context.json) {
      context.print_json(1, Json::object().set("shell", *shell).set("script", script));
    } else {
      context.print(script);
    }
    return 0;
  };
  return spec;
}

}  // namespace mvm::cli
