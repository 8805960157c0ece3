// SPDX-License-Identifier: Apache-2.0
// The part that engines share: a child process with its control, agent and console streams.
#pragma once

#include <string>

#include "backend/backend.h"

namespace mvm::backend {

struct EngineProcess {
  sys::Child child;
  sys::UniqueFd control;  // our ends of the socket pairs
  sys::UniqueFd agent;
  sys::UniqueFd console;
  sys::UniqueFd exchange;
  sys::UniqueFd errors;  // the engine's stdout and stderr, non-blocking
};

// The memory behind an exchange disk: a file without a name.
Result<sys::UniqueFd> make_exchange();

// Starts the plan's program so that it dies with us, with every stream connected.
Result<EngineProcess> start_engine(const LaunchPlan& plan);

// Collects what an engine writes on stderr, keeping the end of it.
class ErrorTail {
 public:
  static constexpr std::size_t kKeep = 8192;
  // Reads what is there. False at end of file.
  bool drain(int fd);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace mvm::backend
