// SPDX-License-Identifier: Apache-2.0
// The status file of a machine: what its supervisor last said about it, for readers that must not
// disturb it.
//
// The file alone proves nothing: whether the machine lives is told by the lock that the supervisor
// holds (run_dir/lock). Written atomically; format docs/formats/status.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "wire/messages.h"

namespace mvm::supervisor {

struct Status {
  wire::VmPhase phase = wire::VmPhase::kStarting;
  std::int64_t supervisor_pid = 0;
  std::int64_t engine_pid = 0;
  std::int64_t started_ms = 0;  // since the epoch
  std::int64_t ready_ms = 0;    // host time from engine start to the guest's ready, 0: not yet
  std::int64_t ended_ms = 0;    // since the epoch, 0: not yet
  std::int32_t exit_code = 0;   // of the main process
  std::uint32_t restarts = 0;
  std::string message;  // why it failed or stopped
  std::string hint;
  std::vector<wire::ServiceState> services = {};  // as they were last told of
};

std::string_view phase_name(wire::VmPhase phase);
std::string_view service_phase_name(wire::ServicePhase phase);
std::string_view health_name(wire::Health health);  // "" for none

std::string status_path(const std::string& data_dir);
Result<> write_status(const std::string& data_dir, const Status& status);
// Errors: kNotFound before the first write, kCorrupt.
Result<Status> read_status(const std::string& data_dir);

}  // namespace mvm::supervisor
