// SPDX-License-Identifier: Apache-2.0
// The guest's services as the supervisor sees them: started through the agent when the guest is
// ready, their output in a log each, their states kept.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "spec/vm_spec.h"
#include "supervisor/console_log.h"
#include "supervisor/own_streams.h"

namespace mvm::supervisor {

// The name under which the check of a machine's own process is told.
constexpr const char* kMainService = "main";

// What the agent is asked to run; empty for a machine without services and checks. Pure.
std::vector<wire::ServiceRequest> service_requests(const spec::VmSpec& vm);

// Of the whole machine: unhealthy when one of them is or has failed, healthy when all that are
// checked are. Pure.
wire::Health health_of(const std::vector<wire::ServiceState>& states);

// The states before anything was started. Pure.
std::vector<wire::ServiceState> first_states(const std::vector<wire::ServiceRequest>& requests);

// "DATA_DIR/services/NAME.log"
std::string service_log_path(const std::string& data_dir, const std::string& service);

class Services {
 public:
  struct Handlers {
    std::function<void(const std::vector<wire::ServiceState>&)> on_change;
    // They have stopped, or nobody watches them any more.
    std::function<void()> on_end;
  };
  Services(Router& router, const spec::VmSpec& vm, Handlers handlers);
  Services(const Services&) = delete;
  Services& operator=(const Services&) = delete;

  // Errors: kInvalidArgument when the requests are too large for a message.
  Result<> start();
  // Asks them to stop in their order; on_end follows.
  void stop();
  bool running() const { return stream_ != nullptr && !stream_->closed(); }

 private:
  void on_data(std::uint8_t channel, std::span<const std::byte> bytes);
  Result<> take_records();
  void on_closed(const wire::Closed& closed);
  void log(const wire::ServiceOutput& output);

  const spec::VmSpec& vm_;
  Handlers handlers_;
  OwnStreams streams_;
  std::shared_ptr<agent_client::Stream> stream_;
  std::vector<wire::ServiceRequest> requests_;
  std::vector<wire::ServiceState> states_;
  std::map<std::string, RotatingLog> logs_;
  std::string buffer_;
  bool stopping_ = false;
};

}  // namespace mvm::supervisor
