// SPDX-License-Identifier: Apache-2.0
#include "supervisor/guest_run.h"

#include <signal.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>

#include "backend/registry/registry.h"
#include "core/log.h"
#include "sys/io.h"
#include "sys/signals.h"

namespace mvm::supervisor {
namespace {

// After the guest has been asked to stop and its grace has passed, it has this long to sync.
constexpr Millis kSyncGrace{2000};
// What is left to the rest of the guest when its services have used up the time.
constexpr Millis kLeastGrace{500};
// As long as a save may take that a stop has to wait for.
constexpr Millis kMostHeld{10 * 60 * 1000};
// An engine whose guest is done has this long to tell what it has counted.
constexpr Millis kLastWords{1000};

static_assert(backend::kExchangeSize.count == wire::kExchangeSize);

std::string last_line(const std::string& text) {
  std::size_t end = text.size();
  while (end > 0 && text[end - 1] == '\n') --end;
  const std::size_t begin = text.rfind('\n', end == 0 ? 0 : end - 1);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1));
}

// A sealed machine's kernel gives up on the first block that is not what was signed.
Error panic_error(const std::string& panic) {
  if (panic.starts_with("dm-verity"))
    return Error(Errc::kCorrupt,
                 "the image is not what was signed; the guest's kernel has noticed (" + panic + ")")
        .with_hint("make it again: mvmctl build --force, or mvmctl bundle import");
  return Error(Errc::kGuestFault, "guest kernel panic: " + panic);
}

}  // namespace

GuestRun::GuestRun(sys::EventLoop& loop, const spec::VmSpec& vm, Logs logs, Handlers handlers)
    : loop_(loop),
      vm_(vm),
      logs_(logs),
      handlers_(std::move(handlers)),
      router_([this](const wire::Frame& frame) { to_guest(frame); }) {}

GuestRun::~GuestRun() {
  loop_.cancel(boot_timer_);
  loop_.cancel(stop_timer_);
  if (console_) loop_.remove(console_.get());
  main_.reset();  // before the router they are clients of
  services_.reset();
}

Result<std::unique_ptr<GuestRun>> GuestRun::boot(sys::EventLoop& loop, const spec::VmSpec& vm,
                                                 Logs logs, Handlers handlers) {
  auto run = std::unique_ptr<GuestRun>(new GuestRun(loop, vm, logs, std::move(handlers)));
  MVM_TRY(run->launch());
  return run;
}

Result<> GuestRun::launch() {
  const backend::Backend* engine = MVM_TRY(backend::find_backend(vm_.backend));
  const backend::LaunchPlan plan = MVM_TRY(engine->plan(vm_));
  machine_ = MVM_TRY(engine->launch(plan));
  log::info("engine " + plan.backend + " started, pid " + std::to_string(machine_->pid()));
  MVM_TRY(watch_console(machine_->take_console()));
  if (sys::UniqueFd memory = machine_->take_exchange())
    exchange_ = std::make_unique<Exchange>(
        loop_, std::move(memory), [this](const wire::Frame& frame) { link_->send(frame); },
        [this] { return link_->congested(); });
  MVM_TRY(machine_->watch(loop_, {[this, configure = configure_for(vm_, plan)](sys::UniqueFd fd) {
                                    attach_agent(std::move(fd), configure);
                                  },
                                  [this](auto bytes) { logs_.engine.append(bytes); },
                                  [this](const backend::MachineEnd& end) { on_engine_end(end); }}));
  boot_timer_ = loop_.after(vm_.limits.boot_deadline, [this] {
    end_now(with_console(Error(Errc::kTimeout, "the guest was not ready within " +
                                                   format_duration(vm_.limits.boot_deadline) +
                                                   " of its start")));
  });
  return {};
}

void GuestRun::attach_agent(sys::UniqueFd fd, const wire::Configure& configure) {
  link_ = std::make_unique<GuestLink>(
      loop_, std::move(fd),
      GuestLink::Handlers{
          [this](const wire::Ready& ready) { on_guest_ready(ready); },
          [this](Error error) {
            // An engine that has just ended closes the channel too: its own end tells more.
            const bool lost = error.errnum() == ECONNRESET || error.errnum() == EPIPE;
            if (lost || (error.code() == Errc::kGuestFault && error.message() == kChannelEnded))
              return;
            end_now(with_console(std::move(error)));
          },
          [this] { end_well(); }, [this](const wire::Frame& frame) { return from_guest(frame); }});
  if (auto started = link_->start(configure); !started) end_now(started.error());
}

void GuestRun::to_guest(const wire::Frame& frame) {
  if (exchange_) return exchange_->send(frame);
  if (link_) link_->send(frame);
}

Result<> GuestRun::from_guest(const wire::Frame& frame) {
  if (exchange_) exchange_->tell_taken();
  if (frame.type == wire::FrameType::kDataAt && exchange_)
    return exchange_->receive(frame,
                              [this](const wire::Frame& f) { return router_.from_guest(f); });
  MVM_TRY(router_.from_guest(frame));
  if (!exchange_) return {};
  if (frame.type == wire::FrameType::kCredit)
    exchange_->on_credit(frame.stream, MVM_TRY(wire::decode_u32(frame.payload)));
  if (frame.type == wire::FrameType::kClosed) exchange_->on_closed(frame.stream);
  if (router_.open_streams() == 0) exchange_->give_back();
  return {};
}

Result<> GuestRun::watch_console(sys::UniqueFd fd) {
  console_ = std::move(fd);
  if (!console_) return {};
  MVM_TRY(sys::set_nonblocking(console_.get(), true));
  return loop_.add(console_.get(), EPOLLIN, [this](std::uint32_t) { read_console(); });
}

void GuestRun::read_console() {
  std::array<std::byte, 16384> chunk;
  const auto n = sys::read_some(console_.get(), chunk);
  if (!n && n.error().errnum() == EAGAIN) return;
  if (!n || *n == 0) {
    loop_.remove(console_.get());
    console_.reset();
    return;
  }
  const auto bytes = std::span(chunk).first(*n);
  logs_.console.append(bytes);
  if (const auto panic = scanner_.feed({reinterpret_cast<const char*>(bytes.data()), bytes.size()}))
    end_now(panic_error(*panic));
}

void GuestRun::on_guest_ready(const wire::Ready& ready) {
  if (ready_) return;
  ready_ = true;
  loop_.cancel(boot_timer_);
  handlers_.on_ready(ready);
  if (ended_) return;
  if (auto started = start_services(); !started) return end_now(started.error());
  // In a restored machine it runs already, as a process of the guest like any other.
  if (!vm_.process || !vm_.restore_dir.empty() || ended_) return;
  main_ = std::make_unique<MainProcess>(
      router_, logs_.output, [this](const wire::Closed& closed) { on_main_end(closed); });
  if (auto started = main_->start(*vm_.process); !started) end_now(started.error());
}

// In a restored machine they run already, and are joined.
Result<> GuestRun::start_services() {
  if (service_requests(vm_).empty()) return {};
  services_ = std::make_unique<Services>(
      router_, vm_,
      Services::Handlers{[this](const auto& states) { handlers_.on_services(states); },
                         [this] {
                           if (on_services_stopped_) on_services_stopped_();
                         }});
  return services_->start();
}

void GuestRun::on_main_end(const wire::Closed& closed) {
  if (stopping_ || ended_) return;
  switch (closed.outcome) {
    case wire::Outcome::kExited:
      end_.exit_code = closed.code;
      break;
    case wire::Outcome::kSignalled:
      end_.exit_code = 128 + closed.code;
      break;
    case wire::Outcome::kNotStarted:
      end_.exit_code = closed.code == ENOENT ? 127 : 126;
      end_.failure = Error(Errc::kNotFound, "the main process was not started: " + closed.message);
      break;
    default:
      return;
  }
  shut_down(Millis(1000), SIGTERM);
}

void GuestRun::pause(backend::Machine::Done done) {
  held_ = true;
  machine_->pause([this, done = std::move(done)](Result<> result) {
    if (!result) held_ = false;
    done(std::move(result));
  });
}

void GuestRun::resume(backend::Machine::Done done) {
  machine_->resume([this, done = std::move(done)](Result<> result) {
    if (result) {
      held_ = false;
      link_->tell_time();
    }
    done(std::move(result));
  });
}

void GuestRun::save(backend::Machine::Done done) {
  machine_->save(backend::snapshot_files(backend::saving_dir(vm_)), std::move(done));
}

void GuestRun::shut_down(Millis grace, int signum) {
  if (stopping_ || ended_) return;
  stopping_ = true;
  loop_.cancel(boot_timer_);
  if (!ready_) return end_now(std::nullopt);
  if (!held_) return stop_services(grace, signum);
  // A guest that is held could not hear us; its time begins when it goes on, which may be after its
  // memory has been written to a slow disk.
  stop_timer_ = loop_.after(kMostHeld, [this] {
    log::warn("the engine did not let the guest go on and was ended");
    end_now(std::nullopt);
  });
  resume([this, grace, signum](const Result<>& gone_on) {
    if (ended_) return;
    loop_.cancel(stop_timer_);
    if (!gone_on) return end_now(gone_on.error());
    stop_services(grace, signum);
  });
}

// Services end in their order, before everything else is told to. Their own graces may take longer
// than the machine's, which counts.
void GuestRun::stop_services(Millis grace, int signum) {
  if (services_ == nullptr || !services_->running()) return ask_to_stop(grace, signum);
  const Clock::time_point until = Clock::now() + grace;
  on_services_stopped_ = [this, until, signum] {
    loop_.cancel(stop_timer_);
    on_services_stopped_ = {};
    const auto left = std::chrono::duration_cast<Millis>(until - Clock::now());
    if (!ended_) ask_to_stop(std::max(left, kLeastGrace), signum);
  };
  stop_timer_ = loop_.after(grace, [this] {
    log::warn("the services did not stop in time");
    auto go_on = std::move(on_services_stopped_);
    on_services_stopped_ = {};
    if (go_on) go_on();
  });
  services_->stop();
}

void GuestRun::ask_to_stop(Millis grace, int signum) {
  link_->request_shutdown({signum, static_cast<std::uint32_t>(grace.count())});
  stop_timer_ = loop_.after(grace + kSyncGrace, [this] {
    log::warn("the guest did not stop in time and was ended");
    end_now(std::nullopt);
  });
}

void GuestRun::end_well() {
  if (ended_) return;
  ended_ = true;
  loop_.cancel(boot_timer_);
  loop_.cancel(stop_timer_);
  machine_->end();
  stop_timer_ = loop_.after(kLastWords, [this] { machine_->kill(); });
}

void GuestRun::end_now(std::optional<Error> why) {
  if (ended_) return;
  ended_ = true;
  if (why && !end_.failure) end_.failure = std::move(why);
  loop_.cancel(boot_timer_);
  loop_.cancel(stop_timer_);
  machine_->kill();
}

Error GuestRun::with_console(Error error) const {
  const std::string line = last_line(scanner_.last_lines(1));
  if (line.empty()) return error;
  std::string hint = "the guest's console ended with: " + line;
  return std::move(error).with_hint(std::move(hint));
}

Error GuestRun::engine_error(const backend::MachineEnd& end) const {
  switch (end.reason) {
    case backend::EndReason::kGuestPanic:
      return with_console(Error(Errc::kGuestFault, "guest kernel panic"));
    case backend::EndReason::kGuestReset:
      return with_console(Error(Errc::kGuestFault, "the guest rebooted"));
    case backend::EndReason::kGuestPoweroff:
      return with_console(Error(Errc::kGuestFault, "the guest powered itself off"));
    case backend::EndReason::kEngineExit:
      break;
  }
  std::string text = "the " + vm_.backend + " engine ended with " + end.status.text();
  if (!end.engine_output.empty()) text += ": " + last_line(end.engine_output);
  if (!end.hint.empty()) return Error(Errc::kUnavailable, std::move(text)).with_hint(end.hint);
  return with_console(Error(Errc::kGuestFault, std::move(text)));
}

void GuestRun::on_engine_end(const backend::MachineEnd& end) {
  if (console_) read_console();  // a panic may have been the last thing said
  if (!ended_ && !end_.failure && !(stopping_ && end.status.ok())) end_.failure = engine_error(end);
  ended_ = true;
  loop_.cancel(boot_timer_);
  loop_.cancel(stop_timer_);
  router_.close_all({wire::Outcome::kCancelled, 0, "the machine has ended"});
  handlers_.on_end(end_);
}

}  // namespace mvm::supervisor
