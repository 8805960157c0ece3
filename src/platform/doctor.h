// SPDX-License-Identifier: Apache-2.0
// What 'mvmctl doctor' says: findings about the host, each with a stable id and what to do. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/result.h"
#include "platform/host_facts.h"
#include "platform/select.h"

namespace mvm::platform {

enum class Severity {
  kOk,
  kInfo,     // worth knowing
  kWarn,     // something is weaker or missing, machines still run
  kProblem,  // machines cannot run, or will soon not
};
std::string_view severity_name(Severity severity);  // "ok", "info", "warn", "problem"

struct Finding {
  std::string id;        // "kvm", "tool.skopeo": stable
  std::string category;  // "host", "kvm", "backend", "engines", "tools", "storage"
  Severity severity = Severity::kOk;
  std::string title;
  std::string detail;
  std::string fix;  // empty: nothing to do
};

std::vector<Finding> findings(const HostFacts& facts, const Result<Selection>& selection);
// kProblem if there is one, and so on downwards.
Severity worst(const std::vector<Finding>& list);

// For people: one line per finding, details and fixes below those that are not ok.
std::string doctor_text(const HostFacts& facts, const Result<Selection>& selection);
// {"schema": 1, "host", "kvm", "selection", "engines", "tools", "findings"}
std::string doctor_json(const HostFacts& facts, const Result<Selection>& selection);
// The support matrix, for people (this host's row marked with '*') and as JSON ("schema": 1).
std::string matrix_text(const HostFacts& facts);
std::string matrix_json(const HostFacts& facts);

// What goes into a bug report besides the doctor's output.
struct ReportInput {
  std::string mvm_version;
  std::string created;                           // RFC 3339
  std::map<std::string, std::string> log_tails;  // "VM web supervisor.log" → its last lines
  std::string home;                              // replaced by "~"
  std::vector<std::string>
      environment;  // "NAME=VALUE"; values of secret-looking names are replaced
};

// One JSON document ("schema": 1) with everything that is asked for when behaviour is reported:
// host system, architecture, selected backend, doctor output, whether KVM was available, versions,
// logs. Redacted.
std::string report_json(const HostFacts& facts, const Result<Selection>& selection,
                        const ReportInput& input);

// Replaces the home directory and what looks like a secret: values of the environment's
// secret-looking names wherever they appear, and the right side of NAME=VALUE, NAME: VALUE for such
// names.
std::string redact(std::string text, const std::string& home,
                   const std::vector<std::string>& environment);

}  // namespace mvm::platform
