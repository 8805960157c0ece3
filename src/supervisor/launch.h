// SPDX-License-Identifier: Apache-2.0
// Starting a supervisor process, as its parent sees it.
#pragma once

#include <string>

#include "core/result.h"
#include "spec/vm_spec.h"
#include "sys/files.h"
#include "sys/unique_fd.h"

namespace mvm::supervisor {

// Descriptors that mvm-supervisor is started with.
constexpr int kSpecFd = 3;     // the VmSpec as JSON
constexpr int kFounderFd = 4;  // connection of the command that makes the machine
constexpr int kLockFd = 5;     // the held lock of the machine

// Starts the supervisor in a session of its own and returns our end of the founder's connection.
// The lock is handed over: it stays held as long as the supervisor lives.
// Errors: kNotFound when `program` is missing.
Result<sys::UniqueFd> launch(const std::string& program, const spec::VmSpec& vm,
                             const sys::FileLock& lock);

}  // namespace mvm::supervisor
