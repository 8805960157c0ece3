// SPDX-License-Identifier: Apache-2.0
#include "platform/doctor.h"

#include <algorithm>

#include "platform/matrix.h"

namespace mvm::platform {
namespace {

constexpr Bytes kLowDisk = gibibytes(2);
constexpr Bytes kLowMemory = gibibytes(1);

Finding host_finding(const HostFacts& facts) {
  const Support support = decide(facts);
  Finding f{"host", "host", Severity::kOk, "", support.reason, support.hint};
  f.title = (facts.os_name.empty() ? std::string(os_id(facts.os)) : facts.os_name) + " on " +
            facts.machine + ": " + std::string(status_name(support.status));
  if (!support.can_run) f.severity = Severity::kProblem;
  if (support.can_run && support.status != Status::kSupported) f.severity = Severity::kWarn;
  return f;
}

Finding kvm_finding(const HostFacts& facts) {
  const KvmFacts& kvm = facts.kvm;
  Finding f{"kvm", "kvm", Severity::kWarn, "", kvm.detail, ""};
  switch (kvm.state) {
    case KvmState::kWorks:
      f.severity = Severity::kOk;
      f.title = "KVM works (API " + std::to_string(kvm.api_version) + ")";
      break;
    case KvmState::kSoftware:
      f.title = "/dev/kvm is a software KVM that cannot boot a stock kernel";
      f.fix =
          "for hardware isolation use a machine with vmx or svm; until then machines are emulated";
      break;
    case KvmState::kNoPermission:
      f.title = "/dev/kvm may not be opened by user " + std::to_string(facts.uid);
      f.fix = "sudo usermod -aG kvm $USER, then log in again";
      break;
    case KvmState::kAbsent:
      f.title = "there is no /dev/kvm";
      f.fix = facts.in_container
                  ? "start the container with --device /dev/kvm"
                  : "load kvm_intel or kvm_amd, or enable virtualisation in the firmware";
      break;
    case KvmState::kBroken:
      f.title = "/dev/kvm opens, but no virtual machine can be made";
      f.fix = "look at the host's kernel log";
      break;
  }
  return f;
}

Finding backend_finding(const Result<Selection>& selection) {
  if (!selection)
    return {"backend",
            "backend",
            Severity::kProblem,
            "no backend can run machines",
            selection.error().text(),
            selection.error().hint()};
  const Selection& s = *selection;
  const std::string name = s.backend + (s.accelerator.empty() ? "" : " (" + s.accelerator + ")");
  const bool strong = s.isolation == spec::Isolation::kMicrovm;
  return {"backend",
          "backend",
          strong ? Severity::kOk : Severity::kWarn,
          "backend " + name + ", isolation " + std::string(isolation_name(s.isolation)),
          s.reason,
          ""};
}

std::string install(const Program& p) {
  return p.package.empty() ? "" : "apt-get install " + p.package;
}

// Missing engines are no fault: the backend finding tells whether one is lacking.
Finding engine_finding(const Program& p) {
  if (p.found())
    return {"engine." + p.name,
            "engines",
            Severity::kOk,
            p.name + (p.version.empty() ? "" : " " + p.version),
            p.path + (p.sha256.empty() ? "" : ", sha256 " + p.sha256),
            ""};
  return {"engine." + p.name,
          "engines",
          Severity::kInfo,
          p.name + " is not installed",
          "needed for: " + p.needed_for,
          install(p)};
}

Finding tool_finding(const Program& p) {
  if (p.found())
    return {"tool." + p.name, "tools",
            Severity::kOk,    p.name + (p.version.empty() ? "" : " " + p.version),
            p.path,           ""};
  return {"tool." + p.name,
          "tools",
          Severity::kWarn,
          p.name + " is not installed",
          "needed for: " + p.needed_for,
          install(p)};
}

void storage_findings(const HostFacts& facts, std::vector<Finding>& out) {
  if (!facts.data_writable)
    out.push_back({"data", "storage", Severity::kProblem,
                   "user " + std::to_string(facts.uid) + " may not write to " + facts.data_dir, "",
                   "give it to that user, or set MVM_HOME to a directory of yours"});
  if (facts.disk_total.count != 0) {
    const bool low = facts.disk_free < kLowDisk;
    out.push_back({"disk", "storage", low ? Severity::kWarn : Severity::kOk,
                   format_size(facts.disk_free) + " free of " + format_size(facts.disk_total),
                   "at " + facts.data_dir,
                   low ? "make room with 'mvmctl image prune' and 'mvmctl cache prune'" : ""});
  }
  if (facts.memory.count != 0) {
    const bool low = facts.memory < kLowMemory;
    out.push_back(
        {"memory", "host", low ? Severity::kWarn : Severity::kOk,
         format_size(facts.memory) + " of memory, " + std::to_string(facts.cpus) + " processors",
         "cgroup " + std::string(cgroup_mode_name(facts.cgroup)),
         low ? "use --memory 256M or less" : ""});
  }
}

std::string_view mark(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok      ";
    case Severity::kInfo:
      return "info    ";
    case Severity::kWarn:
      return "warn    ";
    case Severity::kProblem:
      return "problem ";
  }
  return "";
}

}  // namespace

std::string_view severity_name(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kInfo:
      return "info";
    case Severity::kWarn:
      return "warn";
    case Severity::kProblem:
      return "problem";
  }
  return "problem";
}

std::vector<Finding> findings(const HostFacts& facts, const Result<Selection>& selection) {
  std::vector<Finding> out = {host_finding(facts)};
  if (facts.os == Os::kLinux) out.push_back(kvm_finding(facts));
  out.push_back(backend_finding(selection));
  if (facts.in_container)
    out.push_back({"container", "host", Severity::kInfo, "mvm runs inside a container",
                   "devices and cgroups are those the container was given", ""});
  for (const Program& engine : facts.engines) out.push_back(engine_finding(engine));
  if (facts.jail_off && find_engine(facts, "mvm-vmm") != nullptr)
    out.push_back({"jail", "engines", Severity::kWarn, "mvm-vmm is started without its jail",
                   "the setting 'jail' is off", "mvmctl config set jail required"});
  for (const Program& tool : facts.tools) out.push_back(tool_finding(tool));
  storage_findings(facts, out);
  return out;
}

Severity worst(const std::vector<Finding>& list) {
  Severity severity = Severity::kOk;
  for (const Finding& f : list) severity = std::max(severity, f.severity);
  return severity;
}

std::string doctor_text(const HostFacts& facts, const Result<Selection>& selection) {
  std::string text;
  for (const Finding& f : findings(facts, selection)) {
    text += std::string(mark(f.severity)) + f.title + "\n";
    if (f.severity == Severity::kOk && f.category != "backend" && f.category != "engines") continue;
    if (!f.detail.empty()) text += "        " + f.detail + "\n";
    if (!f.fix.empty()) text += "        to do: " + f.fix + "\n";
  }
  return text;
}

std::string matrix_text(const HostFacts& facts) {
  const MatrixRow* mine = row_for(facts);
  std::string text;
  for (const MatrixRow& r : matrix()) {
    text += std::string(&r == mine ? "* " : "  ") + std::string(r.host) + " (" +
            std::string(r.arch) + "): " + std::string(status_name(r.status)) + "\n";
    text += "      backend: " + std::string(r.backend) + "\n      notes: " + std::string(r.notes) +
            "\n      security: " + std::string(r.posture) +
            "\n      image work: " + std::string(r.image_builder) + "\n";
  }
  const auto arch = host_arch(facts);
  text += mine == nullptr ? "this host is in no row: " : "* this host: ";
  text += decide(facts).reason + "\n";
  if (arch) text += "guest target: " + guest_target(*arch) + "\n";
  return text;
}

}  // namespace mvm::platform
