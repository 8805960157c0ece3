// SPDX-License-Identifier: Apache-2.0
#include "supervisor/status.h"

#include <array>
#include <nlohmann/json.hpp>

#include "sys/files.h"
#include "sys/io.h"

namespace mvm::supervisor {
namespace {

using nlohmann::json;
using wire::VmPhase;

constexpr int kSchema = 1;
constexpr std::array kPhases = {VmPhase::kStarting, VmPhase::kReady,  VmPhase::kStopping,
                                VmPhase::kStopped,  VmPhase::kFailed, VmPhase::kPaused};

constexpr std::array<std::pair<wire::ServicePhase, std::string_view>, 7> kServicePhases = {
    {{wire::ServicePhase::kWaiting, "waiting"},
     {wire::ServicePhase::kRunning, "running"},
     {wire::ServicePhase::kBackoff, "backoff"},
     {wire::ServicePhase::kDone, "done"},
     {wire::ServicePhase::kFailed, "failed"},
     {wire::ServicePhase::kStopping, "stopping"},
     {wire::ServicePhase::kStopped, "stopped"}}};
constexpr std::array<std::pair<wire::Health, std::string_view>, 4> kHealths = {
    {{wire::Health::kNone, ""},
     {wire::Health::kStarting, "starting"},
     {wire::Health::kHealthy, "healthy"},
     {wire::Health::kUnhealthy, "unhealthy"}}};

template <class Names, class Value>
std::string_view name_in(const Names& names, Value value) {
  for (const auto& [candidate, name] : names) {
    if (candidate == value) return name;
  }
  return "";
}

template <class Names, class Value>
void value_in(const Names& names, std::string_view name, Value& value) {
  for (const auto& [candidate, known] : names) {
    if (known == name) value = candidate;
  }
}

template <class T>
T number(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number_integer() ? it->get<T>() : T{};
}

std::string text(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

json services_json(const std::vector<wire::ServiceState>& services) {
  json out = json::array();
  for (const wire::ServiceState& s : services) {
    out.push_back({{"name", s.name},
                   {"phase", service_phase_name(s.phase)},
                   {"health", health_name(s.health)},
                   {"pid", s.pid},
                   {"restarts", s.restarts},
                   {"message", s.message}});
  }
  return out;
}

std::vector<wire::ServiceState> services_of(const json& list) {
  std::vector<wire::ServiceState> out;
  if (!list.is_array()) return out;
  for (const json& item : list) {
    if (!item.is_object()) continue;
    wire::ServiceState& s = out.emplace_back();
    s.name = text(item, "name");
    value_in(kServicePhases, text(item, "phase"), s.phase);
    value_in(kHealths, text(item, "health"), s.health);
    s.pid = number<std::int32_t>(item, "pid");
    s.restarts = number<std::uint32_t>(item, "restarts");
    s.message = text(item, "message");
  }
  return out;
}

}  // namespace

std::string_view service_phase_name(wire::ServicePhase phase) {
  return name_in(kServicePhases, phase);
}
std::string_view health_name(wire::Health health) { return name_in(kHealths, health); }

std::string_view phase_name(VmPhase phase) {
  switch (phase) {
    case VmPhase::kStarting:
      return "starting";
    case VmPhase::kReady:
      return "running";
    case VmPhase::kStopping:
      return "stopping";
    case VmPhase::kStopped:
      return "stopped";
    case VmPhase::kFailed:
      return "failed";
    case VmPhase::kPaused:
      return "paused";
  }
  return "failed";
}

std::string status_path(const std::string& data_dir) { return data_dir + "/status.json"; }

Result<> write_status(const std::string& data_dir, const Status& s) {
  json object = {{"schema", kSchema},
                 {"phase", phase_name(s.phase)},
                 {"supervisor_pid", s.supervisor_pid},
                 {"engine_pid", s.engine_pid},
                 {"started_ms", s.started_ms},
                 {"ready_ms", s.ready_ms},
                 {"ended_ms", s.ended_ms},
                 {"exit_code", s.exit_code},
                 {"restarts", s.restarts},
                 {"message", s.message},
                 {"hint", s.hint}};
  if (!s.services.empty()) object["services"] = services_json(s.services);
  return sys::write_atomic(status_path(data_dir),
                           object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
}

Result<Status> read_status(const std::string& data_dir) {
  const std::string path = status_path(data_dir);
  const json object = json::parse(MVM_TRY(sys::read_file(path)), nullptr, false);
  if (!object.is_object() || number<int>(object, "schema") != kSchema)
    return Error(Errc::kCorrupt, path + " is not a status file of this version");
  Status s;
  const std::string phase = text(object, "phase");
  bool known = false;
  for (const VmPhase candidate : kPhases) {
    if (phase == phase_name(candidate)) s.phase = candidate, known = true;
  }
  if (!known) return Error(Errc::kCorrupt, path + " has no known phase");
  s.supervisor_pid = number<std::int64_t>(object, "supervisor_pid");
  s.engine_pid = number<std::int64_t>(object, "engine_pid");
  s.started_ms = number<std::int64_t>(object, "started_ms");
  s.ready_ms = number<std::int64_t>(object, "ready_ms");
  s.ended_ms = number<std::int64_t>(object, "ended_ms");
  s.exit_code = number<std::int32_t>(object, "exit_code");
  s.restarts = number<std::uint32_t>(object, "restarts");
  s.message = text(object, "message");
  s.hint = text(object, "hint");
  s.services = services_of(object.value("services", json()));
  return s;
}

}  // namespace mvm::supervisor
