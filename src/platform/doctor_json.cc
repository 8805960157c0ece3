// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "platform/doctor.h"
#include "platform/matrix.h"

namespace mvm::platform {
namespace {

using json = nlohmann::ordered_json;
constexpr int kSchema = 1;
constexpr std::size_t kMinSecret = 6;  // shorter values would blot out ordinary words

std::string print(const json& root) {
  return root.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

json programs_json(const std::vector<Program>& programs) {
  json list = json::array();
  for (const Program& p : programs)
    list.push_back({{"name", p.name},
                    {"installed", p.found()},
                    {"path", p.path},
                    {"version", p.version},
                    {"sha256", p.sha256},
                    {"needed_for", p.needed_for},
                    {"package", p.package}});
  return list;
}

json host_json(const HostFacts& f) {
  const MatrixRow* row = row_for(f);
  const auto arch = host_arch(f);
  return {{"os", os_id(f.os)},
          {"os_name", f.os_name},
          {"kernel", f.kernel_release},
          {"arch", f.machine},
          {"guest_target", arch ? guest_target(*arch) : ""},
          {"wsl2", f.is_wsl2},
          {"in_container", f.in_container},
          {"jail_off", f.jail_off},
          {"uid", f.uid},
          {"cpus", f.cpus},
          {"memory_bytes", f.memory.count},
          {"cgroup", cgroup_mode_name(f.cgroup)},
          {"data_dir", f.data_dir},
          {"data_writable", f.data_writable},
          {"disk_free_bytes", f.disk_free.count},
          {"disk_total_bytes", f.disk_total.count},
          {"matrix_row", row != nullptr ? row->id : ""},
          {"status", status_name(decide(f).status)}};
}

json kvm_json(const KvmFacts& k) {
  return {{"state", kvm_state_name(k.state)}, {"device_present", k.device_present},
          {"accessible", k.accessible},       {"api_version", k.api_version},
          {"cpu_flag", k.cpu_flag},           {"detail", k.detail}};
}

json selection_json(const Result<Selection>& s) {
  if (!s)
    return {{"error",
             {{"code", errc_name(s.error().code())},
              {"message", s.error().text()},
              {"hint", s.error().hint()}}}};
  return {{"backend", s->backend},
          {"accelerator", s->accelerator},
          {"isolation", isolation_name(s->isolation)},
          {"reason", s->reason},
          {"posture", s->posture}};
}

json findings_json(const std::vector<Finding>& list) {
  json out = json::array();
  for (const Finding& f : list)
    out.push_back({{"id", f.id},
                   {"category", f.category},
                   {"severity", severity_name(f.severity)},
                   {"title", f.title},
                   {"detail", f.detail},
                   {"fix", f.fix}});
  return out;
}

json doctor_root(const HostFacts& facts, const Result<Selection>& selection) {
  const std::vector<Finding> list = findings(facts, selection);
  return {{"schema", kSchema},
          {"worst", severity_name(worst(list))},
          {"host", host_json(facts)},
          {"kvm", kvm_json(facts.kvm)},
          {"selection", selection_json(selection)},
          {"engines", programs_json(facts.engines)},
          {"tools", programs_json(facts.tools)},
          {"findings", findings_json(list)}};
}

bool looks_secret(std::string_view name) {
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  constexpr std::array<std::string_view, 7> kWords = {"TOKEN",  "SECRET", "PASSWORD",  "PASSWD",
                                                      "APIKEY", "_KEY",   "CREDENTIAL"};
  return std::any_of(kWords.begin(), kWords.end(),
                     [&](std::string_view word) { return upper.find(word) != std::string::npos; });
}

// With `whole_path`, only where the match ends a path component: /home/ann is no part of
// /home/anna.
void replace_all(std::string& text, const std::string& from, std::string_view to, bool whole_path) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
    const std::size_t end = at + from.size();
    const char next = end < text.size() ? text[end] : '/';
    const bool longer = std::isalnum(static_cast<unsigned char>(next)) != 0 || next == '_' ||
                        next == '-' || next == '.';
    if (whole_path && longer) {
      at = end;
      continue;
    }
    text.replace(at, from.size(), to);
    at += to.size();
  }
}

// NAME=VALUE and NAME: VALUE where NAME looks secret.
std::string redact_assignments(const std::string& text) {
  const auto name_char = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
  };
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t end = at;
    while (end < text.size() && name_char(text[end])) ++end;
    const bool secret = end > at && end < text.size() && (text[end] == '=' || text[end] == ':') &&
                        looks_secret(std::string_view(text).substr(at, end - at));
    if (!secret) {
      end = std::max(end, at + 1);
      out.append(text, at, end - at);
      at = end;
      continue;
    }
    std::size_t value = end + 1;
    while (value < text.size() && (text[value] == ' ' || text[value] == '"' || text[value] == '\''))
      ++value;
    const std::size_t stop = std::min(text.find_first_of(" \t\r\n\"'", value), text.size());
    out.append(text, at, value - at);
    if (stop > value) out += "[redacted]";
    at = stop;
  }
  return out;
}

}  // namespace

std::string doctor_json(const HostFacts& facts, const Result<Selection>& selection) {
  return print(doctor_root(facts, selection));
}

std::string matrix_json(const HostFacts& facts) {
  json rows = json::array();
  const MatrixRow* mine = row_for(facts);
  for (const MatrixRow& r : matrix())
    rows.push_back({{"id", r.id},
                    {"host", r.host},
                    {"arch", r.arch},
                    {"backend", r.backend},
                    {"status", status_name(r.status)},
                    {"notes", r.notes},
                    {"security", r.posture},
                    {"image_work", r.image_builder},
                    {"this_host", &r == mine}});
  const Support support = decide(facts);
  const auto arch = host_arch(facts);
  return print({{"schema", kSchema},
                {"rows", std::move(rows)},
                {"can_run", support.can_run},
                {"status", status_name(support.status)},
                {"reason", support.reason},
                {"hint", support.hint},
                {"guest_target", arch ? guest_target(*arch) : ""}});
}

std::string redact(std::string text, const std::string& home,
                   const std::vector<std::string>& environment) {
  for (const std::string& pair : environment) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || !looks_secret(std::string_view(pair).substr(0, equals)))
      continue;
    const std::string value = pair.substr(equals + 1);
    if (value.size() >= kMinSecret) replace_all(text, value, "[redacted]", false);
  }
  if (home.size() > 1) replace_all(text, home, "~", true);
  return redact_assignments(text);
}

std::string report_json(const HostFacts& facts, const Result<Selection>& selection,
                        const ReportInput& input) {
  const auto clean = [&](std::string text) {
    return redact(std::move(text), input.home, input.environment);
  };
  // Every string is cleaned by itself: a replacement in the finished text could break its quoting.
  const auto clean_all = [&](const auto& self, json& node) -> void {
    if (node.is_string()) node = clean(node.template get<std::string>());
    if (node.is_structured()) {
      for (json& child : node) self(self, child);
    }
  };
  json logs = json::object();
  for (const auto& [name, tail] : input.log_tails) logs[clean(name)] = tail;
  json root = {{"schema", kSchema},
               {"kind", "mvm-report"},
               {"created", input.created},
               {"mvm_version", input.mvm_version},
               {"host_os", facts.os_name.empty() ? std::string(os_id(facts.os)) : facts.os_name},
               {"arch", facts.machine},
               {"backend", selection ? selection->backend : ""},
               {"dev_kvm_present", facts.kvm.device_present},
               {"kvm_works", facts.kvm.state == KvmState::kWorks},
               {"doctor", doctor_root(facts, selection)},
               {"logs", std::move(logs)}};
  clean_all(clean_all, root);
  return print(root);
}

}  // namespace mvm::platform
