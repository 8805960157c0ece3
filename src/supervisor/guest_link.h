// SPDX-License-Identifier: Apache-2.0
// The supervisor's end of the agent channel: handshake, configuration, then stream frames for the
// router.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "backend/backend.h"
#include "spec/vm_spec.h"
#include "wire/link.h"

namespace mvm::supervisor {

// The message of the fault that an ending channel causes.
constexpr std::string_view kChannelEnded = "the agent channel has ended";

class GuestLink {
 public:
  struct Handlers {
    std::function<void(const wire::Ready&)> on_ready;
    // The guest says that it cannot go on, or broke the protocol, or the channel ended.
    std::function<void(Error)> on_fault;
    std::function<void()> on_halted;
    std::function<Result<>(const wire::Frame&)> on_stream;
  };
  GuestLink(sys::EventLoop& loop, sys::UniqueFd fd, Handlers handlers);

  // Sends hello and configuration without waiting for the guest: it reads them when it is up.
  Result<> start(const wire::Configure& configure);
  void send(const wire::Frame& frame) {
    link_.send(frame.stream, frame.type, frame.channel, frame.payload);
  }
  // True while the guest has not read much of what was sent.
  bool congested() const { return link_.congested(); }
  void request_shutdown(const wire::Shutdown& shutdown);
  // Tells the guest what time it is, when it was held for a while.
  void tell_time();

 private:
  Result<> on_frame(const wire::Frame& frame);
  wire::Link link_;
  Handlers handlers_;
  bool greeted_ = false;
};

// What the guest is told to be.
wire::Configure configure_for(const spec::VmSpec& vm, const backend::LaunchPlan& plan);

}  // namespace mvm::supervisor
