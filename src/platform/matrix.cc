// SPDX-License-Identifier: Apache-2.0
#include "platform/matrix.h"

#include <array>

namespace mvm::platform {
namespace {

constexpr std::array kRows = {
    MatrixRow{"linux-kvm", "Linux with /dev/kvm", "x86_64, aarch64", "Firecracker, QEMU with KVM",
              Status::kSupported, "strongest local target; direct KVM microVM path",
              "hardware virtualisation: the preferred local isolation target",
              "natively on this host"},
    MatrixRow{"macos-apple-silicon", "macOS Apple Silicon", "aarch64",
              "Apple Virtualization, libkrun", Status::kSupported,
              "local development and runtime path for M-series Macs",
              "hardware virtualisation; features differ between the two backends",
              "in the project's builder VM"},
    MatrixRow{"linux-no-kvm", "Linux without a working /dev/kvm", "x86_64, aarch64",
              "QEMU emulation; Docker when asked for", Status::kLimited,
              "emulated machines are slower; Docker is a convenience only and no microVM isolation "
              "boundary",
              "QEMU emulation is a machine boundary, but not one QEMU supports as a security "
              "boundary; Docker shares "
              "the host kernel: do not use it for untrusted code",
              "natively on this host"},
    MatrixRow{"windows", "Windows native", "x86_64, aarch64", "none", Status::kFuture,
              "tracked in mvm#428", "no backend, so no claim", "not supported today"},
    MatrixRow{"wsl2", "WSL2 with nested KVM", "x86_64, aarch64", "experimental Linux path",
              Status::kExperimental, "may expose /dev/kvm; not a supported host path today",
              "research path until tested and documented as supported",
              "natively inside WSL2, experimental"},
    MatrixRow{"macos-intel", "Intel macOS", "x86_64", "none", Status::kUnsupported,
              "use Linux with KVM or Apple Silicon macOS", "no backend, so no claim",
              "not supported"}};

const MatrixRow* row(std::string_view id) {
  for (const MatrixRow& r : kRows) {
    if (r.id == id) return &r;
  }
  return nullptr;
}

const MatrixRow* linux_row(const HostFacts& facts) {
  if (!host_arch(facts)) return nullptr;
  if (facts.is_wsl2 && facts.kvm.device_present) return row("wsl2");
  return row(facts.kvm.state == KvmState::kWorks ? "linux-kvm" : "linux-no-kvm");
}

Support decide_linux(const HostFacts& facts, const MatrixRow& r) {
  Support support{true, r.status, "", ""};
  const std::string wsl = facts.is_wsl2 ? "WSL2: " : "";
  if (facts.kvm.state == KvmState::kWorks) {
    support.reason = wsl + "KVM works";
  } else {
    support.reason = wsl + "KVM is not usable (" + facts.kvm.detail + "), machines are emulated";
  }
  if (r.id == "wsl2")
    support.hint = "WSL2 is experimental; for a supported host use Linux with KVM";
  return support;
}

}  // namespace

std::string_view status_name(Status status) {
  switch (status) {
    case Status::kSupported:
      return "supported";
    case Status::kLimited:
      return "limited";
    case Status::kExperimental:
      return "experimental";
    case Status::kFuture:
      return "future";
    case Status::kUnsupported:
      return "unsupported";
  }
  return "unsupported";
}

std::span<const MatrixRow> matrix() { return kRows; }

const MatrixRow* row_for(const HostFacts& facts) {
  switch (facts.os) {
    case Os::kLinux:
      return linux_row(facts);
    case Os::kMacos:
      return row(host_arch(facts) == spec::Arch::kAarch64 ? "macos-apple-silicon" : "macos-intel");
    case Os::kWindows:
      return row("windows");
    case Os::kOther:
      return nullptr;
  }
  return nullptr;
}

Support decide(const HostFacts& facts) {
  const MatrixRow* r = row_for(facts);
  if (r == nullptr) {
    return {false, Status::kUnsupported,
            "mvm does not run on " + std::string(os_id(facts.os)) + " with a " + facts.machine +
                " processor",
            "use Linux on x86_64 or aarch64, or macOS on Apple Silicon"};
  }
  if (r->id == "windows")
    return {false, r->status, "Windows has no backend yet; it is tracked as mvm#428",
            "use Linux with KVM"};
  if (r->id == "macos-intel")
    return {false, r->status, "Intel macOS is not supported",
            "use Linux with KVM or Apple Silicon macOS"};
  if (r->id == "macos-apple-silicon")
    return {true, r->status, "Apple Silicon has hardware virtualisation", ""};
  return decide_linux(facts, *r);
}

}  // namespace mvm::platform
