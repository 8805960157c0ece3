// SPDX-License-Identifier: Apache-2.0
// Where the tools of a build run: a view of this host in which they may write to the given
// directories only, see no other process, and have no network unless they are given one.
//
// mvm-build calls itself with kSandboxVerb, makes the namespaces and then becomes the tool. Without
// root the namespaces are those of a user namespace with the same user in it, where the system
// allows that; a system that does not leaves the tool as it is, which the step's log says.
// Source: namespaces(7), mount_setattr(2).
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "sys/process.h"

namespace mvm::build {

inline constexpr char kSandboxVerb[] = "__sandbox";

struct Sandbox {
  std::vector<std::string> writable;  // existing directories
  bool network = false;
};

// `command` as it is started inside. Errors: those of finding our own program.
Result<sys::Command> sandboxed(sys::Command command, const Sandbox& sandbox);

// Body of the verb: `mvm-build __sandbox [--network] [--write DIR]… -- TOOL…`. Does not return but
// for an error's exit code.
int sandbox_main(const std::vector<std::string>& arguments);

}  // namespace mvm::build
