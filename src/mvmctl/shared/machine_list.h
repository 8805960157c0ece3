// SPDX-License-Identifier: Apache-2.0
// The verbs that do one thing to each of several machines: stop, kill, rm, pause, resume.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "store/layout.h"
#include "workflow/machines.h"

namespace mvm::cli {

struct MachineList {
  std::vector<std::string> vms;
  bool all = false;
  bool all_alive = false;  // --all means those that run
};

// The positional VM... and --all.
void add_machine_list(CommandSpec& spec, MachineList& list);

// Does one thing to every machine of the list, all of them even if one fails, and prints the names
// of those where it was done. The first failure is reported.
// Errors: kInvalidArgument when none is named; kNotFound before anything is done.
Result<int> for_each_machine(
    Context& context, const MachineList& list,
    const std::function<Result<>(const store::Layout&, const workflow::Machine&)>& act);

}  // namespace mvm::cli
