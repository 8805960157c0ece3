// SPDX-License-Identifier: Apache-2.0
#include "platform/host_facts.h"

namespace mvm::platform {

std::string_view kvm_state_name(KvmState state) {
  switch (state) {
    case KvmState::kWorks:
      return "works";
    case KvmState::kSoftware:
      return "software_kvm";
    case KvmState::kNoPermission:
      return "no_permission";
    case KvmState::kAbsent:
      return "absent";
    case KvmState::kBroken:
      return "broken";
  }
  return "broken";
}

std::string_view cgroup_mode_name(CgroupMode mode) {
  switch (mode) {
    case CgroupMode::kNone:
      return "none";
    case CgroupMode::kV1:
      return "v1";
    case CgroupMode::kHybrid:
      return "hybrid";
    case CgroupMode::kV2:
      return "v2";
  }
  return "none";
}

std::string_view os_id(Os os) {
  switch (os) {
    case Os::kLinux:
      return "linux";
    case Os::kMacos:
      return "macos";
    case Os::kWindows:
      return "windows";
    case Os::kOther:
      return "other";
  }
  return "other";
}

std::optional<spec::Arch> host_arch(const HostFacts& facts) {
  if (facts.machine == "x86_64" || facts.machine == "amd64" || facts.machine == "AMD64")
    return spec::Arch::kX86_64;
  if (facts.machine == "aarch64" || facts.machine == "arm64" || facts.machine == "ARM64")
    return spec::Arch::kAarch64;
  return std::nullopt;
}

std::string guest_target(spec::Arch arch) {
  return arch == spec::Arch::kAarch64 ? "aarch64-linux" : "x86_64-linux";
}

const Program* find_engine(const HostFacts& facts, std::string_view name) {
  for (const Program& engine : facts.engines) {
    if (engine.name == name && engine.found()) return &engine;
  }
  return nullptr;
}

}  // namespace mvm::platform
