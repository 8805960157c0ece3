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

template <class T>
T number(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number_integer() ? it->get<T>() : T{};
}

std::string text(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

}  // namespace

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
  const json object = {{"schema", kSchema},
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
  return s;
}

}  // namespace mvm::supervisor
