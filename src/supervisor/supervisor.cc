// SPDX-License-Identifier: Apache-2.0
#include "supervisor/supervisor.h"

#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <chrono>

#include "core/log.h"
#include "sys/signals.h"

namespace mvm::supervisor {
namespace {

using wire::VmPhase;

// Commands that do not take their last bytes within this are left behind.
constexpr Millis kDrainDeadline{1000};
constexpr Millis kDefaultGrace{10'000};

std::int64_t now_ms() {
  return std::chrono::duration_cast<Millis>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

int stop_signal(const spec::VmSpec& vm) {
  if (!vm.process) return SIGTERM;
  const auto signum = sys::parse_signal(vm.process->stop_signal);
  return signum ? *signum : SIGTERM;
}

}  // namespace

Supervisor::Supervisor(sys::EventLoop& loop, spec::VmSpec vm, RotatingLog console,
                       RotatingLog output)
    : loop_(loop),
      vm_(std::move(vm)),
      console_log_(std::move(console)),
      output_log_(std::move(output)),
      clients_(loop, {[this](const wire::Stop& request) {
                        if (!request.kill)
                          return stop(Millis(request.grace_ms), "stopped on request");
                        stop_wanted_ = true;
                        if (guest_) guest_->end_now(std::nullopt);
                      },
                      [this] {
                        if (!vm_.remove_when_done) return;
                        stop_wanted_ = true;
                        if (guest_) guest_->end_now(std::nullopt);
                      }}) {}

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

Result<> Supervisor::run(sys::UniqueFd founder) {
  status_.supervisor_pid = ::getpid();
  status_.started_ms = now_ms();
  MVM_TRY(watch_signals());
  MVM_TRY(clients_.add_founder(std::move(founder)));
  boot();
  if (!done_) MVM_TRY(clients_.listen(vm_.run_dir + "/control.sock"));
  if (vm_.limits.ttl) {
    loop_.after(*vm_.limits.ttl, [this] {
      stop(Millis(2000), "its time to live of " + format_duration(*vm_.limits.ttl) + " is over");
    });
  }
  while (!done_) MVM_TRY(loop_.run_once(Deadline::none()));
  clients_.drain(Deadline::after(kDrainDeadline, "delivery of the last output"));
  return {};
}

void Supervisor::boot() {
  boot_began_ = Clock::now();
  auto guest = GuestRun::boot(
      loop_, vm_, {console_log_, output_log_},
      {[this](const wire::Ready& ready) { on_ready(ready); },
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
  clients_.set_state({phase, status_.exit_code, status_.message, status_.hint});
}

void Supervisor::on_ready(const wire::Ready& ready) {
  status_.ready_ms = std::chrono::duration_cast<Millis>(Clock::now() - boot_began_).count();
  log::info("guest ready after " + std::to_string(status_.ready_ms) + " ms; its own clock: agent " +
            std::to_string(ready.init_us / 1000) + " ms, ready " +
            std::to_string(ready.ready_us / 1000) + " ms");
  if (!stop_wanted_) set_phase(VmPhase::kReady);
}

void Supervisor::stop(Millis grace, const std::string& why) {
  if (stop_wanted_ || done_) return;
  stop_wanted_ = true;
  log::info("stopping: " + why);
  status_.message = why;
  set_phase(VmPhase::kStopping);
  if (guest_) guest_->shut_down(grace, stop_signal(vm_));
}

bool Supervisor::should_restart(const GuestEnd& end) const {
  if (!vm_.restart.on_failure || stop_wanted_) return false;
  if (!end.failure && end.exit_code.value_or(0) == 0) return false;
  return vm_.restart.max_restarts == 0 || status_.restarts < vm_.restart.max_restarts;
}

void Supervisor::on_end(const GuestEnd& end) {
  clients_.set_router(nullptr);
  guest_.reset();
  if (!should_restart(end)) return finish(end);
  ++status_.restarts;
  log::info("restart " + std::to_string(status_.restarts) + ": " +
            (end.failure ? end.failure->text() : "exit code " + std::to_string(*end.exit_code)));
  boot();
}

void Supervisor::finish(const GuestEnd& end) {
  status_.ended_ms = now_ms();
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
