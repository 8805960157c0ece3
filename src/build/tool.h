// SPDX-License-Identifier: Apache-2.0
// The tools of a step: run in the sandbox, their words kept in the step's log.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "build/job.h"
#include "core/result.h"
#include "sys/process.h"

namespace mvm::build {

// Where a step works, and whom it tells.
struct Shop {
  const Job& job;
  std::function<void(const Event&)> on_event;

  std::string log_path(const std::string& step) const { return job.work_dir + "/" + step + ".log"; }
  // One place for what tools leave lying about, which goes with the job.
  std::string temporary() const { return job.work_dir + "/tmp"; }
};

struct Tool {
  std::string step;                           // whose log it writes
  std::vector<std::string> argv;              // argv[0] is looked up in PATH
  std::vector<std::string> environment = {};  // "K=V" in place of ours
  std::string working_dir = {};
  bool network = false;
  std::vector<std::string> writable = {};  // beside the job's work and cache directories
  // What a failure means, for a tool that is known better than by its last words.
  std::function<Error(const sys::Output&)> explain = {};
};

// Its stdout. Errors: kUnavailable when the program is not installed, naming its package; kNoSpace;
// otherwise kIo with what it complained of.
Result<std::string> run_tool(const Shop& shop, const Tool& tool);

// The lines of a tool's output that say what went wrong, at most `most` of them. Pure.
std::string complaint_in(std::string_view text, std::size_t most = 6);

}  // namespace mvm::build
