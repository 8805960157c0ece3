// SPDX-License-Identifier: Apache-2.0
// Starting a supervisor process, as its parent sees it.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "spec/vm_spec.h"
#include "sys/files.h"
#include "sys/unique_fd.h"

namespace mvm::supervisor {

// Descriptors that mvm-supervisor is started with.
constexpr int kSpecFd = 3;     // the VmSpec as JSON
constexpr int kFounderFd = 4;  // connection of the command that makes the machine
constexpr int kLockFd = 5;     // the held lock of the machine
constexpr int kControlFd = 6;  // listens at control_socket()
constexpr int kVolumeFd = 7;   // the held locks of vm.volumes, from here on

// Where further commands connect. It is there before anybody can know of the machine, so that a
// command which comes early waits for its supervisor.
inline std::string control_socket(const std::string& run_dir) { return run_dir + "/control.sock"; }

// Starts the supervisor in a session of its own and returns our end of the founder's connection.
// Locks and control socket are handed over: the locks stay held as long as the supervisor lives.
// Errors: kNotFound when `program` is missing.
Result<sys::UniqueFd> launch(const std::string& program, const spec::VmSpec& vm,
                             const sys::FileLock& lock, int control,
                             const std::vector<sys::FileLock>& volumes);

}  // namespace mvm::supervisor
