// SPDX-License-Identifier: Apache-2.0
#include "agent/services/manager.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>

#include "agent/process/exec.h"
#include "sys/io.h"

namespace mvm::agent::services {
namespace {

using wire::Health;
using wire::ServicePhase;

constexpr Millis kFirstBackoff{100};
constexpr Millis kMostBackoff{30'000};
constexpr Millis kRanWell{10'000};
constexpr std::uint32_t kIn = EPOLLIN;
constexpr std::size_t kChunk = 16384;
// More than a pipe holds: what somebody outside its group still writes waits for its turn.
constexpr int kLastChunks = 16;

// Whose output a check's is: read, so that the check can write, and dropped.
constexpr char kNobody[] = "";

std::string how_it_ended(int wait_status) {
  return WIFEXITED(wait_status) ? "exit code " + std::to_string(WEXITSTATUS(wait_status))
                                : "signal " + std::to_string(WTERMSIG(wait_status));
}

bool is_checked_only(const wire::ServiceRequest& request) { return request.exec.argv.empty(); }

}  // namespace

Manager::Manager(sys::EventLoop& loop, const std::vector<wire::ServiceRequest>& services,
                 int cgroup_fd)
    : loop_(loop),
      cgroup_fd_(cgroup_fd),
      listeners_(loop, [this] { read_all(true); }, [this] { stop(); }) {
  for (const wire::ServiceRequest& request : services) {
    auto unit = std::make_unique<Unit>();
    unit->request = request;
    unit->state.name = request.name;
    if (request.health) unit->state.health = Health::kStarting;
    units_.push_back(std::move(unit));
  }
}

Manager::~Manager() {
  for (const auto& unit : units_) {
    if (unit->timer) loop_.cancel(*unit->timer);
  }
  for (Output& output : outputs_) {
    if (!output.gone) loop_.remove(output.fd.get());
  }
  loop_.cancel_deferred(this);
}

Result<> Manager::add_listener(sys::UniqueFd fd, bool is_socket) {
  std::string all;
  for (const auto& unit : units_)
    all += wire::record(wire::encode(wire::ServiceRecord{unit->state, std::nullopt}));
  return listeners_.add(std::move(fd), is_socket, all);
}

void Manager::start() { start_waiting(); }

bool Manager::may_start(const Unit& unit) const {
  if (stopping_ || unit.state.phase != ServicePhase::kWaiting) return false;
  return std::ranges::all_of(unit.request.after, [&](const std::string& name) {
    const auto other =
        std::ranges::find_if(units_, [&](const auto& u) { return u->request.name == name; });
    if (other == units_.end()) return true;
    const wire::ServiceState& state = (*other)->state;
    const bool up = state.phase == ServicePhase::kRunning &&
                    (state.health == Health::kNone || state.health == Health::kHealthy);
    return up || state.phase == ServicePhase::kDone;
  });
}

void Manager::start_waiting() {
  for (const auto& unit : units_) {
    if (may_start(*unit)) launch(*unit);
  }
}

void Manager::launch(Unit& unit) {
  unit.started = Clock::now();
  if (!is_checked_only(unit.request)) {
    auto plan = plan_exec(unit.request.exec);
    if (!plan) return not_started(unit, plan.error());
    plan->cgroup_fd = cgroup_fd_;
    auto process = start_process(*plan);
    if (!process) return not_started(unit, process.error());
    unit.state.pid = process->pid;
    // Why it cannot run is told when the child has been reaped, like any end.
    if (process->failure) unit.state.message = describe(*process->failure, *plan);
    unit.exec_failed = process->failure.has_value();
    watch(unit.request.name, std::move(process->out));
    watch(unit.request.name, std::move(process->err));
  }
  set_phase(unit, ServicePhase::kRunning);
  begin_check(unit);
  start_waiting();  // those that come after it
}

void Manager::not_started(Unit& unit, const Error& why) {
  unit.state.message = why.text().substr(0, 1024);
  restart_or_rest(unit, true);
}

void Manager::begin_check(Unit& unit) {
  if (!unit.request.health) return;
  unit.state.health = Health::kStarting;
  HealthCheck::Handlers handlers;
  handlers.start = [this, &unit](const std::vector<std::string>& argv) -> Result<pid_t> {
    wire::ExecRequest exec = unit.request.exec;
    exec.argv = argv;
    ProcessPlan plan = MVM_TRY(plan_exec(exec));
    plan.cgroup_fd = cgroup_fd_;
    Process process = MVM_TRY(start_process(plan));
    for (sys::UniqueFd* words : {&process.out, &process.err}) watch(kNobody, std::move(*words));
    return process.pid;
  };
  handlers.on_change = [this, &unit](Health health, const std::string& why) {
    unit.state.health = health;
    if (health == Health::kUnhealthy) unit.state.message = why.substr(0, 1024);
    tell(unit);
    start_waiting();
  };
  unit.check = std::make_unique<HealthCheck>(loop_, *unit.request.health, std::move(handlers));
}

void Manager::on_child() {
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    const pid_t pid = info.si_pid;
    const auto unit =
        std::ranges::find_if(units_, [&](const auto& u) { return u->state.pid == pid; });
    // What it has started ends with it: a second copy would find its port taken. Its group is its
    // own until it is reaped.
    if (unit != units_.end()) ::kill(-pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    if (unit != units_.end()) {
      on_ended(**unit, status);
      continue;
    }
    for (const auto& other : units_) {
      if (other->check && other->check->on_exit(pid, status)) break;
    }
  }
}

// Its last words go before its end: after the end of the last service nobody reads any more.
void Manager::read_last_words(const std::string& name) {
  for (Output& output : outputs_) {
    if (output.name != name) continue;
    for (int i = 0; i < kLastChunks && read(output); ++i) continue;
  }
}

void Manager::on_ended(Unit& unit, int wait_status) {
  read_last_words(unit.request.name);
  unit.state.pid = 0;
  unit.check.reset();
  if (unit.timer) loop_.cancel(*unit.timer);
  unit.timer.reset();
  const bool failed = !WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0;
  if (!unit.exec_failed) unit.state.message = how_it_ended(wait_status);
  if (Clock::now() - unit.started >= kRanWell) unit.failures = 0;
  restart_or_rest(unit, failed);
}

void Manager::restart_or_rest(Unit& unit, bool failed) {
  if (unit.request.health) unit.state.health = Health::kStarting;
  if (stopping_) {
    unit.state.health = Health::kNone;
    set_phase(unit, ServicePhase::kStopped);
    return stop_next();
  }
  const bool again = unit.request.restart == wire::ServiceRestart::kAlways ||
                     (failed && unit.request.restart == wire::ServiceRestart::kOnFailure);
  if (!again) {
    // What has ended well needs no health; what has not never will have.
    unit.state.health = unit.request.health && failed ? Health::kUnhealthy : Health::kNone;
    set_phase(unit, failed ? ServicePhase::kFailed : ServicePhase::kDone);
    return start_waiting();
  }
  Millis delay = kFirstBackoff;
  for (std::uint32_t i = 0; i < unit.failures && delay < kMostBackoff; ++i) delay *= 2;
  ++unit.failures;
  unit.timer = loop_.after(std::min(delay, kMostBackoff), [this, &unit] {
    unit.timer.reset();
    ++unit.state.restarts;
    unit.state.phase = ServicePhase::kWaiting;
    launch(unit);
  });
  set_phase(unit, ServicePhase::kBackoff);
}

void Manager::set_phase(Unit& unit, ServicePhase phase) {
  unit.state.phase = phase;
  tell(unit);
}

void Manager::tell(const Unit& unit) {
  listeners_.tell(wire::record(wire::encode(wire::ServiceRecord{unit.state, std::nullopt})));
}

// Somebody that runs comes after it.
bool Manager::is_needed(const Unit& unit) const {
  return std::ranges::any_of(units_, [&](const auto& other) {
    return other->state.pid != 0 &&
           std::ranges::find(other->request.after, unit.request.name) != other->request.after.end();
  });
}

void Manager::stop() {
  if (stopping_) return;
  stopping_ = true;
  for (const auto& unit : units_) {
    unit->check.reset();
    if (unit->state.pid != 0) continue;
    if (unit->timer) loop_.cancel(*unit->timer);
    unit->timer.reset();
    const ServicePhase phase = unit->state.phase;
    if (phase == ServicePhase::kDone || phase == ServicePhase::kFailed) continue;
    unit->state.health = Health::kNone;
    set_phase(*unit, ServicePhase::kStopped);
  }
  stop_next();
}

void Manager::stop_next() {
  for (const auto& unit : units_) {
    Unit& u = *unit;
    if (u.state.pid == 0 || u.state.phase == ServicePhase::kStopping || is_needed(u)) continue;
    set_phase(u, ServicePhase::kStopping);
    ::kill(-u.state.pid, u.request.stop_signal);
    ::kill(-u.state.pid, SIGCONT);
    u.timer = loop_.after(Millis(std::int64_t{u.request.stop_grace_ms}), [&u] {
      u.timer.reset();
      if (u.state.pid != 0) ::kill(-u.state.pid, SIGKILL);
    });
  }
}

bool Manager::done() const {
  const bool stopped =
      std::ranges::all_of(units_, [](const auto& unit) { return unit->state.pid == 0; });
  return stopping_ && stopped && listeners_.idle();
}

void Manager::watch(const std::string& name, sys::UniqueFd fd) {
  Output& output = outputs_.emplace_back(Output{name, std::move(fd), false});
  if (auto added = loop_.add(output.fd.get(), reading_ ? kIn : 0,
                             [this, &output](std::uint32_t) { (void)read(output); });
      !added)
    output.gone = true;
}

bool Manager::read(Output& output) {
  if (output.gone) return false;
  std::array<std::byte, kChunk> chunk;
  const auto count = sys::read_some(output.fd.get(), chunk);
  if (!count && count.error().errnum() == EAGAIN) return false;
  if (!count || *count == 0) {
    loop_.remove(output.fd.get());
    output.fd.reset();
    output.gone = true;
    loop_.defer(this, [this] { sweep(); });
    return false;
  }
  if (output.name == kNobody) return true;
  const std::string text(reinterpret_cast<const char*>(chunk.data()), *count);
  listeners_.tell(wire::record(
      wire::encode(wire::ServiceRecord{std::nullopt, wire::ServiceOutput{output.name, text}})));
  if (listeners_.congested()) read_all(false);
  return true;
}

// While somebody has much to take, services that say more wait in their write, as on any pipe.
void Manager::read_all(bool on) {
  if (on == reading_) return;
  reading_ = on;
  for (Output& output : outputs_) {
    if (!output.gone) (void)loop_.modify(output.fd.get(), on ? kIn : 0);
  }
}

void Manager::sweep() {
  outputs_.remove_if([](const Output& output) { return output.gone; });
}

}  // namespace mvm::agent::services
