// SPDX-License-Identifier: Apache-2.0
// One machine's life, in one process.
//
//             guest ready               stop, ttl, main process ended
//   starting ─────────────▶ running ─────────────────────────────────▶ stopping ──▶ stopped
//      │                     │ ▲ │ panic, engine end, broken protocol      engine ended
//      │        pause, resume▼ │ │                    (with a restart policy: back to starting)
//      │                    paused ──▶ failed, stopping: as running
//      └── boot failure ──────────────▶ failed
//
// The supervisor holds the machine's lock all its life; when it is killed, the kernel kills the
// engine and frees the lock.
#pragma once

#include <memory>
#include <optional>

#include "spec/vm_spec.h"
#include "supervisor/clients.h"
#include "supervisor/guest_run.h"
#include "supervisor/holds.h"
#include "supervisor/status.h"
#include "sys/event_loop.h"

namespace mvm::supervisor {

class Supervisor {
 public:
  Supervisor(sys::EventLoop& loop, spec::VmSpec vm, RotatingLog console, RotatingLog output,
             RotatingLog engine);
  ~Supervisor();

  // Lives the machine's life. `founder` is the connection of the command that made it, `control`
  // the non-blocking listener of the further ones. Errors: only what prevents even the failed state
  // from being told.
  Result<> run(sys::UniqueFd founder, sys::UniqueFd control);

 private:
  void boot();
  void on_ready(const wire::Ready& ready);
  void on_paused(bool paused);
  void on_end(const GuestEnd& end);
  void finish(const GuestEnd& end);
  bool should_restart(const GuestEnd& end) const;
  void stop(Millis grace, const std::string& why);
  void set_phase(wire::VmPhase phase);
  void on_clients(std::size_t connected);
  Result<> watch_signals();

  sys::EventLoop& loop_;
  const spec::VmSpec vm_;
  const spec::VmSpec again_;  // what a restart boots: the disk as it is now, never the snapshot
  RotatingLog console_log_;
  RotatingLog output_log_;
  RotatingLog engine_log_;
  Clients clients_;
  Holds holds_;
  std::unique_ptr<GuestRun> guest_;
  sys::UniqueFd signals_;
  std::optional<sys::EventLoop::TimerId> idle_timer_;
  Status status_;
  Clock::time_point boot_began_;
  bool was_ready_ = false;  // at least once
  bool stop_wanted_ = false;
  bool done_ = false;
};

}  // namespace mvm::supervisor
