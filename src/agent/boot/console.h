// SPDX-License-Identifier: Apache-2.0
// The guest's console: for what goes wrong before or beside the agent channel, and for the boot
// ladder on request.
#pragma once

#include <string>
#include <string_view>

namespace mvm::agent {

// Makes the console the process's stdout and stderr and /dev/null its stdin, so that 0, 1 and 2 are
// taken.
void open_console();
// One line, "mvm-agent: …". Never fails.
void say(std::string_view message);
// The most recent warning or error of the kernel, without its header; empty when there is none.
// Source: the kernel's Documentation/ABI/testing/dev-kmsg.
std::string last_kernel_complaint();

}  // namespace mvm::agent
