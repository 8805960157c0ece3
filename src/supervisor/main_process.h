// SPDX-License-Identifier: Apache-2.0
// The machine's own process (`up IMAGE -- CMD`): started when the guest is ready, its output
// logged, its end told.
#pragma once

#include <functional>
#include <memory>

#include "spec/vm_spec.h"
#include "supervisor/console_log.h"
#include "supervisor/own_streams.h"

namespace mvm::supervisor {

// What the agent is asked to run as a machine's process. Pure.
wire::Open start_request(const spec::ProcessSpec& process);

class MainProcess {
 public:
  MainProcess(Router& router, RotatingLog& log, std::function<void(const wire::Closed&)> on_end);
  MainProcess(const MainProcess&) = delete;
  MainProcess& operator=(const MainProcess&) = delete;

  // Errors: kInvalidArgument when the command line is too large.
  Result<> start(const spec::ProcessSpec& process);

 private:
  RotatingLog& log_;
  std::function<void(const wire::Closed&)> on_end_;
  OwnStreams streams_;
  std::shared_ptr<agent_client::Stream> stream_;
};

}  // namespace mvm::supervisor
