// SPDX-License-Identifier: Apache-2.0
#include "supervisor/supervisor.h"

#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <chrono>

#include "core/log.h"
#include "supervisor/services.h"
#include "sys/io.h"
#include "sys/signals.h"

namespace mvm::supervisor {
namespace {

using wire::VmPhase;

// Commands that do not take their last bytes within this are left behind.
constexpr Millis kDrainDeadline{1000};
constexpr Millis kDefaultGrace{10'000};
// Of a machine that nobody waits for any more.
constexpr Millis kLastGrace{2000};

int stop_signal(const spec::VmSpec& vm) {
  if (!vm.process) return SIGTERM;
  const auto signum = sys::parse_signal(vm.process->stop_signal);
  return signum ? *signum : SIGTERM;
}

// The client has moved the files of a snapshot away, unless it failed or was killed; a monitor that
// was killed leaves some under other names.
void discard_saved(const spec::VmSpec& vm) {
  for (const std::string& path : sys::children(backend::saving_dir(vm))) {
    if (auto gone = sys::remove_tree(path); !gone) log::warn(gone.error().text());
  }
}

spec::VmSpec without_snapshot(spec::VmSpec vm) {
  vm.restore_dir.clear();
  return vm;
}

}  // namespace

Supervisor::Supervisor(sys::EventLoop& loop, spec::VmSpec vm, RotatingLog console,
                       RotatingLog output, RotatingLog engine)
    : loop_(loop),
      vm_(std::move(vm)),
      again_(without_snapshot(vm_)),
      console_log_(std::move(console)),
      output_log_(std::move(output)),
      engine_log_(std::move(engine)),
      clients_(loop, {[this](const wire::Stop& request) {
                        if (!request.kill)
                          return stop(Millis(request.grace_ms), "stopped on request");
                        stop_wanted_ = true;
                        if (guest_) guest_->end_now(std::nullopt);
                      },
                      [this](Clients::ClientId client, wire::Request request) {
                        if (request.kind == wire::RequestKind::kSave && !vm_.sealed_by.empty())
                          return clients_.answer(client, {Error(Errc::kUnsupported,
                                                                "the machine is sealed: its "
                                                                "memory is not written")});
                        holds_.request(client, request);
                      },
                      [this](Clients::ClientId client) { holds_.client_gone(client); },
                      [this] {
                        if (!vm_.remove_when_done) return;
                        // What lies on a volume is wanted still.
                        if (!vm_.volumes.empty())
                          return stop(kLastGrace, "the command that made it is gone");
                        stop_wanted_ = true;
                        if (guest_) guest_->end_now(std::nullopt);
                      },
                      [this](std::size_t connected) { on_clients(connected); }}),
      holds_({[this](Clients::ClientId client, const wire::Answer& answer) {
                clients_.answer(client, answer);
              },
              [this](bool paused) { on_paused(paused); }}) {}

Supervisor::~Supervisor() {
  clients_.set_router(nullptr);
  if (signals_) loop_.remove(signals_.get());
}

Result<> Supervisor::watch_signals() {
  signals_ = MVM_TRY(sys::signal_fd({SIGTERM, SIGINT, SIGHUP}));
  return loop_.add(signals_.get(), EPOLLIN, [this](std::uint32_t) {
    while (sys::read_signal(signals_.get())) stop(kDefaultGrace, "the supervisor was told to end");
  });
}

Result<> Supervisor::run(sys::UniqueFd founder, sys::UniqueFd control) {
  status_.supervisor_pid = ::getpid();
  status_.started_ms = unix_time_ms();
  MVM_TRY(watch_signals());
  MVM_TRY(clients_.add_founder(std::move(founder)));
  MVM_TRY(clients_.listen(std::move(control)));
  boot();
  if (vm_.limits.ttl) {
    loop_.after(*vm_.limits.ttl, [this] {
      stop(kLastGrace, "its time to live of " + format_duration(*vm_.limits.ttl) + " is over");
    });
  }
  while (!done_) MVM_TRY(loop_.run_once(Deadline::none()));
  clients_.drain(Deadline::after(kDrainDeadline, "delivery of the last output"));
  return {};
}

void Supervisor::boot() {
  boot_began_ = Clock::now();
  status_.services = first_states(service_requests(vm_));
  auto guest = GuestRun::boot(
      loop_, status_.restarts == 0 ? vm_ : again_, {console_log_, output_log_, engine_log_},
      {[this](const wire::Ready& ready) { on_ready(ready); },
       [this](const std::vector<wire::ServiceState>& states) {
         status_.services = states;
         set_phase(status_.phase);
       },
       [this](const GuestEnd& end) { loop_.after(Millis(0), [this, end] { on_end(end); }); }});
  if (!guest) return finish({std::move(guest).error(), std::nullopt});
  guest_ = std::move(*guest);
  status_.engine_pid = guest_->engine_pid();
  set_phase(VmPhase::kStarting);
  clients_.set_router(&guest_->router());
}

void Supervisor::set_phase(VmPhase phase) {
  status_.phase = phase;
  // A machine that ends with its command has no reader of the file but a `ls` meanwhile; the same
  // write serves both.
  if (auto written = write_status(vm_.data_dir, status_); !written)
    log::warn(written.error().text());
  const std::string hint = phase == VmPhase::kPaused ? "mvmctl resume " + vm_.name : status_.hint;
  clients_.set_state(
      {phase, status_.exit_code, status_.message, hint, health_of(status_.services)});
}

void Supervisor::on_ready(const wire::Ready& ready) {
  was_ready_ = true;
  status_.ready_ms = std::chrono::duration_cast<Millis>(Clock::now() - boot_began_).count();
  log::info("guest ready after " + std::to_string(status_.ready_ms) + " ms; its own clock: agent " +
            std::to_string(ready.init_us / 1000) + " ms, ready " +
            std::to_string(ready.ready_us / 1000) + " ms");
  // The engine has its files open; their names were only for the start.
  if (!vm_.restore_dir.empty()) (void)sys::remove_tree(vm_.restore_dir);
  if (stop_wanted_) return;
  set_phase(VmPhase::kReady);
  holds_.begin({[this](backend::Machine::Done done) { guest_->pause(std::move(done)); },
                [this](backend::Machine::Done done) { guest_->resume(std::move(done)); },
                [this](backend::Machine::Done done) { guest_->save(std::move(done)); },
                [this] { discard_saved(vm_); }});
}

void Supervisor::on_paused(bool paused) {
  log::info(paused ? "paused on request" : "resumed on request");
  if (paused)
    clients_.refuse_streams("machine '" + vm_.name +
                            "' is paused; let it go on with: mvmctl resume " + vm_.name);
  else
    clients_.refuse_streams(std::nullopt);
  set_phase(paused ? VmPhase::kPaused : VmPhase::kReady);
}

void Supervisor::on_clients(std::size_t connected) {
  if (!vm_.limits.idle || done_) return;
  if (idle_timer_) loop_.cancel(*idle_timer_);
  idle_timer_.reset();
  if (connected > 0) return;
  idle_timer_ = loop_.after(*vm_.limits.idle, [this] {
    idle_timer_.reset();
    stop(kDefaultGrace, "no command was connected to it for " + format_duration(*vm_.limits.idle));
  });
}

void Supervisor::stop(Millis grace, const std::string& why) {
  if (stop_wanted_ || done_) return;
  stop_wanted_ = true;
  log::info("stopping: " + why);
  status_.message = why;
  set_phase(VmPhase::kStopping);
  holds_.end(Error(Errc::kNotFound, "the machine is being stopped"));
  if (guest_) guest_->shut_down(grace, stop_signal(vm_));
}

bool Supervisor::should_restart(const GuestEnd& end) const {
  if (!vm_.restart.on_failure || stop_wanted_) return false;
  // What could not be restored is not something else that boots instead.
  if (!vm_.restore_dir.empty() && !was_ready_) return false;
  if (!end.failure && end.exit_code.value_or(0) == 0) return false;
  return vm_.restart.max_restarts == 0 || status_.restarts < vm_.restart.max_restarts;
}

void Supervisor::on_end(const GuestEnd& end) {
  holds_.end(Error(Errc::kNotFound, "the machine has ended"));
  clients_.refuse_streams(std::nullopt);
  clients_.set_router(nullptr);
  guest_.reset();
  discard_saved(vm_);
  if (!should_restart(end)) return finish(end);
  ++status_.restarts;
  log::info("restart " + std::to_string(status_.restarts) + ": " +
            (end.failure ? end.failure->text() : "exit code " + std::to_string(*end.exit_code)));
  boot();
}

void Supervisor::finish(const GuestEnd& end) {
  status_.ended_ms = unix_time_ms();
  status_.engine_pid = 0;
  status_.exit_code = end.exit_code.value_or(0);
  if (end.failure && !stop_wanted_) {
    status_.message = end.failure->text();
    status_.hint = end.failure->hint();
    log::error(status_.message);
  } else if (end.exit_code && !stop_wanted_) {
    status_.message = "the main process ended with exit code " + std::to_string(*end.exit_code);
  }
  set_phase(end.failure && !stop_wanted_ ? VmPhase::kFailed : VmPhase::kStopped);
  done_ = true;
}

}  // namespace mvm::supervisor
