// SPDX-License-Identifier: Apache-2.0
#include "supervisor/services.h"

#include <signal.h>

#include <algorithm>

#include "core/log.h"
#include "spec/words.h"
#include "sys/io.h"
#include "sys/signals.h"

namespace mvm::supervisor {
namespace {

using wire::Health;
using wire::ServicePhase;

std::uint32_t milliseconds(Millis time) {
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(time.count(), 0, std::numeric_limits<std::uint32_t>::max()));
}

wire::HealthRequest request_of(const spec::HealthSpec& health) {
  wire::HealthRequest out;
  out.argv = health.command;
  out.port = static_cast<std::uint16_t>(health.tcp);
  if (!health.http.empty()) {
    // ":8080/path", as the manifest has checked it.
    const std::size_t slash = health.http.find('/');
    out.port = static_cast<std::uint16_t>(std::stoul(health.http.substr(1, slash - 1)));
    out.http_path = health.http.substr(slash);
  }
  out.interval_ms = milliseconds(health.interval);
  out.timeout_ms = milliseconds(health.timeout);
  out.retries = health.retries;
  out.start_period_ms = milliseconds(health.start_period);
  return out;
}

// A process of the machine: what all have in common, and its own words.
wire::ExecRequest exec_of(const spec::ProcessSpec& defaults) {
  wire::ExecRequest out;
  out.env = defaults.env;
  out.working_dir = defaults.working_dir;
  out.make_working_dir = true;
  out.user = defaults.user;
  return out;
}

wire::ServiceRequest request_of(const spec::ServiceSpec& service,
                                const spec::ProcessSpec& defaults) {
  wire::ServiceRequest out;
  out.name = service.name;
  out.exec = exec_of(defaults);
  out.exec.argv = service.command;
  for (const auto& [name, value] : service.env) spec::set_variable(out.exec.env, name, value);
  if (!service.user.empty()) out.exec.user = service.user;
  if (!service.working_dir.empty()) out.exec.working_dir = service.working_dir;
  out.restart = static_cast<wire::ServiceRestart>(service.restart);
  out.after = service.after;
  if (const auto signum = sys::parse_signal(service.stop_signal)) out.stop_signal = *signum;
  out.stop_grace_ms = milliseconds(service.stop_grace);
  if (service.health) out.health = request_of(*service.health);
  return out;
}

}  // namespace

std::vector<wire::ServiceRequest> service_requests(const spec::VmSpec& vm) {
  std::vector<wire::ServiceRequest> out;
  for (const spec::ServiceSpec& service : vm.services)
    out.push_back(request_of(service, vm.exec_defaults));
  if (vm.health && vm.process) {
    wire::ServiceRequest& main = out.emplace_back();
    main.name = kMainService;
    main.exec = exec_of(vm.exec_defaults);
    main.health = request_of(*vm.health);
  }
  return out;
}

Health health_of(const std::vector<wire::ServiceState>& states) {
  Health out = Health::kNone;
  for (const wire::ServiceState& state : states) {
    const bool failed = state.phase == ServicePhase::kFailed;
    if (failed || state.health == Health::kUnhealthy) return Health::kUnhealthy;
    if (state.health == Health::kStarting) out = Health::kStarting;
    if (state.health == Health::kHealthy && out == Health::kNone) out = Health::kHealthy;
  }
  return out;
}

std::vector<wire::ServiceState> first_states(const std::vector<wire::ServiceRequest>& requests) {
  std::vector<wire::ServiceState> out;
  for (const wire::ServiceRequest& request : requests) {
    wire::ServiceState& state = out.emplace_back();
    state.name = request.name;
    if (request.health) state.health = Health::kStarting;
  }
  return out;
}

std::string service_log_path(const std::string& data_dir, const std::string& service) {
  return data_dir + "/services/" + service + ".log";
}

Services::Services(Router& router, const spec::VmSpec& vm, Handlers handlers)
    : vm_(vm),
      handlers_(std::move(handlers)),
      streams_(router),
      requests_(service_requests(vm)),
      states_(first_states(requests_)) {}

Result<> Services::start() {
  MVM_TRY(sys::make_dirs(vm_.data_dir + "/services"));
  wire::Open open;
  open.kind = wire::OpenKind::kServices;
  open.services = requests_;
  agent_client::StreamHandlers handlers;
  handlers.on_data = [this](std::uint8_t channel, std::span<const std::byte> bytes) {
    on_data(channel, bytes);
  };
  handlers.on_closed = [this](const wire::Closed& closed) { on_closed(closed); };
  stream_ = MVM_TRY(streams_.open(open, std::move(handlers)));
  return {};
}

void Services::stop() {
  stopping_ = true;
  if (running()) stream_->send_signal(SIGTERM);
}

void Services::on_data(std::uint8_t channel, std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (channel == wire::kStdout) {
    buffer_ += text;
    if (auto taken = take_records(); !taken) {
      log::error("services: " + taken.error().text());
      buffer_.clear();
      return stream_->cancel();
    }
  } else {
    log::warn("services: " + std::string(text.substr(0, 1000)));
  }
  stream_->consumed(channel, bytes.size());
}

Result<> Services::take_records() {
  bool changed = false;
  while (auto record = MVM_TRY(wire::take_service_record(buffer_))) {
    if (record->output) log(*record->output);
    if (!record->state) continue;
    // The guest is not trusted: what it says of services that were not asked for is nothing.
    for (wire::ServiceState& known : states_) {
      if (known.name != record->state->name) continue;
      known = *record->state;
      changed = true;
    }
  }
  if (changed) handlers_.on_change(states_);
  return {};
}

void Services::log(const wire::ServiceOutput& output) {
  const bool known = std::ranges::any_of(
      requests_, [&](const wire::ServiceRequest& r) { return r.name == output.name; });
  if (!known) return;
  auto found = logs_.find(output.name);
  if (found == logs_.end()) {
    auto opened =
        RotatingLog::open(service_log_path(vm_.data_dir, output.name), vm_.limits.log_size);
    if (!opened) return log::warn(opened.error().text());
    found = logs_.emplace(output.name, std::move(*opened)).first;
  }
  found->second.append(std::as_bytes(std::span(output.text)));
}

void Services::on_closed(const wire::Closed& closed) {
  if (!stopping_) {
    log::error("the guest's services are no longer watched: " + closed.message);
    for (wire::ServiceState& state : states_) {
      state.phase = ServicePhase::kFailed;
      state.message = "nobody watches it any more";
    }
    handlers_.on_change(states_);
  }
  handlers_.on_end();
}

}  // namespace mvm::supervisor
