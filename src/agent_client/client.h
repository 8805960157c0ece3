// SPDX-License-Identifier: Apache-2.0
// A connection to a VM's supervisor: its state, and streams into its guest.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "agent_client/stream_table.h"
#include "core/units.h"
#include "sys/event_loop.h"
#include "sys/unique_fd.h"
#include "wire/link.h"

namespace mvm::agent_client {

class Client {
 public:
  // Takes a connected descriptor and says hello. The loop must outlive the client.
  static Result<std::unique_ptr<Client>> attach(sys::EventLoop& loop, sys::UniqueFd fd);

  // Runs the loop until the guest serves requests. Errors: the start failure with its cause,
  // kNotFound when the supervisor went away, kUnavailable when it is paused, the deadline's.
  Result<> wait_ready(const Deadline& deadline);
  // Runs the loop until everything in it that is checked is healthy. Errors: as wait_ready();
  // kUnsupported when nothing is checked; kGuestFault when it is unhealthy.
  Result<> wait_healthy(const Deadline& deadline);
  // Runs the loop until the VM has ended; its final state.
  Result<wire::VmState> wait_stopped(const Deadline& deadline);

  // Runs the loop until the supervisor serves requests: the guest is ready, or paused.
  Result<> wait_requests(const Deadline& deadline);
  // Runs the loop until the supervisor has answered. Errors: its answer; kNotFound when it went
  // away; the deadline's, and then the request may still be carried out.
  Result<> ask(const wire::Request& request, const Deadline& deadline);

  // Why streams were ended from the machine's side: runs the loop until the supervisor has said
  // what became of it.
  Error wait_end_reason();

  StreamTable& streams() { return streams_; }
  void request_stop(const wire::Stop& stop);
  const std::optional<wire::VmState>& state() const { return state_; }
  bool connected() const { return link_.open(); }
  sys::EventLoop& loop() { return loop_; }
  // Called when the connection ends while nobody is in wait_*().
  std::function<void()> on_disconnected;

 private:
  Client(sys::EventLoop& loop, sys::UniqueFd fd);
  Result<> on_frame(const wire::Frame& frame);
  void on_closed(const std::optional<Error>& error);
  Error lost() const;

  sys::EventLoop& loop_;
  wire::Link link_;
  StreamTable streams_;
  std::optional<wire::VmState> state_;
  std::optional<Error> failure_;
  std::optional<wire::Answer> answer_;
};

// kFailed as an error with its cause and hint.
Error state_error(const wire::VmState& state);

}  // namespace mvm::agent_client
