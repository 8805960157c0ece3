// SPDX-License-Identifier: Apache-2.0
// A stream: one process of the guest with its channels, from the host's open frame to our closed
// frame.
//
// States: running → reaped (output is still being sent) → closed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/process/process.h"
#include "agent/serve/channels.h"

namespace mvm::agent {

class Stream {
 public:
  // `on_closed` is called once, after the closed frame; the owner destroys the stream later, not
  // inside.
  Stream(sys::EventLoop& loop, wire::Link& link, Exchange& exchange, std::uint32_t id,
         ProcessPlan plan, Millis timeout, std::function<void(Stream&)> on_closed);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Starts the process. Errors: start_process()'s; no closed frame has been sent then.
  Result<> start();

  // One frame of the host for this stream. Errors: kGuestFault when it breaks the contract.
  Result<> on_frame(const wire::Frame& frame);
  // The link has room again.
  void on_writable();
  // The process has ended but is not reaped yet, so that its pid and group are still its own.
  void before_reap();
  // `status` is waitpid's.
  void on_reaped(int status);
  // To the process group.
  void signal(int signum);
  // Gives away the output of a program that runs without a terminal, so that it can outlive us.
  void release_output(std::vector<sys::UniqueFd>& into);
  // Tells a terminal's processes that it has gone away.
  void hang_up();

  std::uint32_t id() const { return id_; }
  pid_t pid() const { return pid_; }

 private:
  void on_timeout();
  void cancel();
  void close_if_done();
  wire::Closed verdict() const;

  sys::EventLoop& loop_;
  wire::Link& link_;
  std::uint32_t id_;
  ProcessPlan plan_;
  Millis timeout_;
  std::function<void(Stream&)> on_closed_;
  pid_t pid_ = -1;
  InputQueue input_;
  OutputPump output_;
  OutputPump errors_;
  std::optional<sys::EventLoop::TimerId> timer_;
  std::optional<StartFailure> failure_;
  std::optional<int> wait_status_;
  bool timed_out_ = false;
  bool cancelled_ = false;
  bool closed_ = false;
};

}  // namespace mvm::agent
