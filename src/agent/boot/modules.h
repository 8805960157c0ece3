// SPDX-License-Identifier: Apache-2.0
// Loads the kernel modules that the host has put into the initramfs, in the order the host has
// worked out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace mvm::agent {

struct ModuleEntry {
  std::string group;  // "boot": before the channel opens; "net": when the host wants a network
  std::string file;   // name below /modules
};

// /modules/order: a line "<group> <file>" per module. Lines that are not are an error: the file is
// our own.
Result<std::vector<ModuleEntry>> parse_module_order(std::string_view text);

// Loads the modules of one group. `root` is the initramfs. One that is loaded or built in already
// is fine. Errors: "loading kernel module X: …".
Result<> load_modules(int root, const std::vector<ModuleEntry>& modules, std::string_view group);

// Removes them from the initramfs, whose files are memory.
void forget_modules(int root, const std::vector<ModuleEntry>& modules);

}  // namespace mvm::agent
