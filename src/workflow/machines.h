// SPDX-License-Identifier: Apache-2.0
// Machines that exist: what is true about each, finding one, and removing what the dead left
// behind.
//
// Truth is derived, not recorded: the lock in the run directory is held as long as the supervisor
// lives, the status file says what it last did.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "store/catalog.h"
#include "store/layout.h"
#include "supervisor/status.h"
#include "sys/unique_fd.h"

namespace mvm::workflow {

struct Machine {
  store::VmRecord record;
  supervisor::Status status;
  bool alive = false;
  // "starting", "running", "paused", "stopping", "stopped", "failed", "crashed" (supervisor killed
  // or host rebooted)
  std::string state;
};

Result<Machine> observe(const store::Layout& layout, store::VmRecord record);

// Every machine, oldest first. Those that ended with a command that was killed are removed on the
// way.
Result<std::vector<Machine>> list_machines(const store::Layout& layout);

// By name or id. Errors: kNotFound.
Result<Machine> find_machine(const store::Layout& layout, const std::string& name);

// A connection to the machine's supervisor. Errors: kNotFound saying in what state the machine is
// instead.
Result<sys::UniqueFd> connect(const store::Layout& layout, const Machine& machine);

// Removes a machine that does not run. Errors: kBusy when it does.
Result<> remove_machine(const store::Layout& layout, const Machine& machine);

}  // namespace mvm::workflow
