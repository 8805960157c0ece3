// SPDX-License-Identifier: Apache-2.0
#include "platform/select.h"

#include <array>

#include "platform/matrix.h"

namespace mvm::platform {
namespace {

using spec::Isolation;

// A way to run a machine; the table is in the order of preference.
struct Candidate {
  std::string_view backend;
  std::string_view accelerator;
  Isolation isolation;
  Os os;
  bool needs_kvm;
  std::string_view
      program;     // engine that must be installed; "qemu-system-" takes the guest's architecture
  bool automatic;  // taken without being asked for by name
};

constexpr std::array kCandidates = {
    Candidate{"firecracker", "kvm", Isolation::kMicrovm, Os::kLinux, true, "firecracker", true},
    Candidate{"mvm-vmm", "kvm", Isolation::kMicrovm, Os::kLinux, true, "mvm-vmm", true},
    Candidate{"qemu", "kvm", Isolation::kMicrovm, Os::kLinux, true, "qemu-system-", true},
    Candidate{"libkrun", "kvm", Isolation::kMicrovm, Os::kLinux, true, "krunvm", true},
    Candidate{"vfkit", "hvf", Isolation::kMicrovm, Os::kMacos, false, "vfkit", true},
    Candidate{"libkrun", "hvf", Isolation::kMicrovm, Os::kMacos, false, "krunvm", true},
    Candidate{"qemu", "tcg", Isolation::kEmulated, Os::kLinux, false, "qemu-system-", true},
    Candidate{"qemu", "tcg", Isolation::kEmulated, Os::kMacos, false, "qemu-system-", true},
    Candidate{"docker", "", Isolation::kContainer, Os::kLinux, false, "docker", false},
    // In-process test double: it claims what QEMU's emulation claims, so that tests pass through
    // the same checks.
    Candidate{"fake", "", Isolation::kContainer, Os::kLinux, false, "", false}};

constexpr std::array<std::string_view, 7> kNames = {"firecracker", "mvm-vmm", "qemu", "libkrun",
                                                    "vfkit",       "docker",  "fake"};

struct Context {
  const HostFacts& facts;
  const std::set<std::string>& compiled_in;
  const SelectionRequest& request;
  spec::Arch guest;
};

std::string program_name(const Candidate& c, spec::Arch guest) {
  if (c.program != "qemu-system-") return std::string(c.program);
  return guest == spec::Arch::kAarch64 ? "qemu-system-aarch64" : "qemu-system-x86_64";
}

std::string label(const Candidate& c) {
  return std::string(c.backend) +
         (c.accelerator.empty() ? "" : " (" + std::string(c.accelerator) + ")");
}

// Why a candidate is out of the question; `hint` says what the user can do about it.
struct Obstacle {
  std::string text;
  std::string hint;
};

std::string kvm_hint(const KvmFacts& kvm) {
  switch (kvm.state) {
    case KvmState::kWorks:
      return "";
    case KvmState::kSoftware:
      return "use a machine with hardware virtualisation (or a cloud instance type with nested "
             "virtualisation)";
    case KvmState::kNoPermission:
      return "give this user access to /dev/kvm: 'sudo usermod -aG kvm $USER', then log in again";
    case KvmState::kAbsent:
      return "load the kvm_intel or kvm_amd module, or enable virtualisation in the firmware";
    case KvmState::kBroken:
      return "see 'mvmctl doctor' and the host's kernel log";
  }
  return "";
}

std::string install_hint(const std::string& program) {
  if (program == "qemu-system-x86_64") return "apt-get install qemu-system-x86";
  if (program == "qemu-system-aarch64") return "apt-get install qemu-system-arm";
  if (program == "docker")
    return "apt-get install docker.io and start it, or name a socket: DOCKER_HOST=unix:///PATH";
  return "install " + program;
}

// Whoever names docker, or allows it, has said what it is.
Isolation minimum_for(const Candidate& c, const Context& x) {
  return x.request.minimum.value_or(c.backend == "docker" ? Isolation::kContainer
                                                          : Isolation::kEmulated);
}

std::optional<Obstacle> obstacle(const Candidate& c, const Context& x) {
  if (c.os != x.facts.os) return Obstacle{"does not run on " + std::string(os_id(x.facts.os)), ""};
  if (c.isolation < minimum_for(c, x))
    return Obstacle{"its isolation is only " + std::string(isolation_name(c.isolation)), ""};
  if ((c.needs_kvm || c.accelerator == "hvf") && host_arch(x.facts) != x.guest)
    return Obstacle{"a " + guest_target(x.guest) + " guest needs emulation on this processor", ""};
  if (c.backend == "docker" && host_arch(x.facts) != x.guest)
    return Obstacle{"a container has this host's processor, not " + guest_target(x.guest), ""};
  if (c.needs_kvm && x.facts.kvm.state != KvmState::kWorks)
    return Obstacle{"KVM is not usable: " + x.facts.kvm.detail, kvm_hint(x.facts.kvm)};
  const std::string program = program_name(c, x.guest);
  const bool missing = !program.empty() && find_engine(x.facts, program) == nullptr;
  if (missing && program == "docker")
    return x.facts.docker.text.empty()
               ? Obstacle{"there is no Docker socket", install_hint(program)}
               : Obstacle{x.facts.docker.text, x.facts.docker.hint};
  if (missing) return Obstacle{program + " is not installed", install_hint(program)};
  return std::nullopt;
}

bool considered(const Candidate& c, const Context& x) {
  const std::string name(c.backend);
  if (!x.compiled_in.contains(name)) return false;
  if (x.request.backend != "auto") return x.request.backend == name;
  return c.automatic || (name == "docker" && x.request.allow_docker);
}

std::string join_names(const std::set<std::string>& names) {
  std::string text = "auto";
  for (const std::string& name : names) text += ", " + name;
  return text;
}

Result<> check_name(const Context& x) {
  const std::string& name = x.request.backend;
  if (name == "auto" || x.compiled_in.contains(name)) return {};
  const std::string valid = "valid backends: " + join_names(x.compiled_in);
  for (const std::string_view known : kNames) {
    if (known == name)
      return Error(Errc::kUnsupported, "backend '" + name + "' is not part of this build")
          .with_hint(valid);
  }
  return Error(Errc::kInvalidArgument, "'" + name + "' is no backend").with_hint(valid);
}

std::string reason_text(const Candidate& c, const Context& x) {
  if (x.request.backend != "auto") return "asked for by name";
  if (c.isolation == Isolation::kMicrovm)
    return "the strongest one that is installed and has hardware virtualisation";
  if (c.isolation == Isolation::kContainer)
    return "no virtual machine can be run, and docker is allowed";
  if (host_arch(x.facts) != x.guest)
    return "a " + guest_target(x.guest) + " guest needs emulation on this processor";
  if (x.facts.os == Os::kLinux && x.facts.kvm.state != KvmState::kWorks)
    return "KVM is not usable (" + x.facts.kvm.detail + "), so " + std::string(c.backend) +
           " emulates the processor";
  return "no engine with hardware virtualisation is installed";
}

// Whoever goes on knows what is missing for the strong boundary.
Error wsl2_is_experimental(const HostFacts& facts) {
  std::string hint = "to go on: --experimental, or once: mvmctl config set experimental true";
  if (facts.kvm.state != KvmState::kWorks)
    hint +=
        "; for KVM set nestedVirtualization=true below [wsl2] in %UserProfile%\\.wslconfig, then "
        "wsl --shutdown";
  return Error(Errc::kUnsupported, "this host is WSL2, whose support is experimental")
      .with_hint(std::move(hint));
}

Error nothing_fits(const Context& x,
                   const std::vector<std::pair<const Candidate*, Obstacle>>& tried) {
  const std::string wanted(isolation_name(x.request.minimum.value_or(Isolation::kEmulated)));
  std::string text = x.request.backend == "auto"
                         ? "no backend gives isolation " + wanted + " or better on this host"
                         : "backend " + x.request.backend + " cannot be used";
  std::string hint;
  for (const auto& [candidate, why] : tried) {
    if (candidate->os != x.facts.os && x.request.backend == "auto") continue;
    text += "; " + label(*candidate) + ": " + why.text;
    // A program to install is the easiest remedy, so the last such hint wins; it belongs to the
    // least demanding way.
    if (!why.hint.empty() && (hint.empty() || why.text.ends_with("not installed"))) hint = why.hint;
  }
  return Error(Errc::kUnavailable, std::move(text)).with_hint(std::move(hint));
}

}  // namespace

std::span<const std::string_view> known_backends() { return kNames; }

std::string_view isolation_name(Isolation isolation) {
  switch (isolation) {
    case Isolation::kMicrovm:
      return "microvm";
    case Isolation::kEmulated:
      return "emulated";
    case Isolation::kContainer:
      return "container";
  }
  return "container";
}

Result<Isolation> parse_isolation(std::string_view text) {
  for (const Isolation i : {Isolation::kMicrovm, Isolation::kEmulated, Isolation::kContainer}) {
    if (isolation_name(i) == text) return i;
  }
  return Error(Errc::kInvalidArgument, "'" + std::string(text) + "' is no isolation tier")
      .with_hint("valid tiers: microvm, emulated, container");
}

std::string posture_line(const std::string& backend, const std::string& accelerator,
                         Isolation isolation) {
  std::string meaning;
  switch (isolation) {
    case Isolation::kMicrovm:
      meaning = "hardware virtualisation between guest and host";
      break;
    case Isolation::kEmulated:
      meaning = "a machine boundary, but not one QEMU supports as a security boundary";
      break;
    case Isolation::kContainer:
      meaning = "shares the host kernel, no microVM boundary; do not use it for untrusted code";
      break;
  }
  if (backend == "fake")
    meaning = "an ordinary process of this host without any boundary, for tests";
  return "mvm: backend " + backend + (accelerator.empty() ? "" : " (" + accelerator + ")") +
         ", isolation " + std::string(isolation_name(isolation)) + ": " + meaning;
}

Result<Selection> select_backend(const HostFacts& facts, const std::set<std::string>& compiled_in,
                                 const SelectionRequest& request) {
  const Support support = decide(facts);
  const auto native = host_arch(facts);
  if (!support.can_run || !native)
    return Error(Errc::kUnsupported, support.reason).with_hint(support.hint);
  if (facts.is_wsl2 && !request.experimental) return wsl2_is_experimental(facts);
  const Context x{facts, compiled_in, request, request.guest_arch.value_or(*native)};
  MVM_TRY(check_name(x));
  std::vector<std::pair<const Candidate*, Obstacle>> tried;
  for (const Candidate& c : kCandidates) {
    if (!considered(c, x)) continue;
    if (auto why = obstacle(c, x)) {
      tried.emplace_back(&c, std::move(*why));
      continue;
    }
    const std::string backend(c.backend), accelerator(c.accelerator);
    return Selection{backend, accelerator, c.isolation, reason_text(c, x),
                     posture_line(backend, accelerator, c.isolation)};
  }
  return nothing_fits(x, tried);
}

}  // namespace mvm::platform
