// SPDX-License-Identifier: Apache-2.0
// Hosts of every kind, for the tests of this module.
#pragma once

#include "platform/host_facts.h"

namespace mvm::platform::testing_hosts {

inline Program engine(const std::string& name) {
  return {name, "/usr/bin/" + name, "", "backend " + name, ""};
}

inline HostFacts linux_host(KvmState kvm, const std::string& machine = "x86_64") {
  HostFacts facts;
  facts.os = Os::kLinux;
  facts.os_name = "Debian GNU/Linux 12 (bookworm)";
  facts.kernel_release = "6.1.0-56-amd64";
  facts.machine = machine;
  facts.kvm.state = kvm;
  facts.kvm.device_present = kvm != KvmState::kAbsent;
  facts.kvm.accessible = kvm == KvmState::kWorks || kvm == KvmState::kSoftware;
  facts.kvm.api_version = facts.kvm.accessible ? 12 : 0;
  facts.kvm.cpu_flag = kvm == KvmState::kWorks;
  facts.kvm.detail = "detail of " + std::string(kvm_state_name(kvm));
  facts.engines = {engine("qemu-system-x86_64"), engine("qemu-system-aarch64")};
  facts.memory = gibibytes(8);
  facts.cpus = 4;
  facts.data_dir = "/home/ann/.local/share/mvm";
  facts.disk_free = gibibytes(50);
  facts.disk_total = gibibytes(100);
  facts.uid = 1000;
  return facts;
}

inline HostFacts mac(const std::string& machine) {
  HostFacts facts;
  facts.os = Os::kMacos;
  facts.machine = machine;
  facts.engines = {engine("vfkit"), engine("krunvm")};
  return facts;
}

inline HostFacts windows(const std::string& machine = "AMD64") {
  HostFacts facts;
  facts.os = Os::kWindows;
  facts.machine = machine;
  return facts;
}

inline HostFacts wsl2(KvmState kvm) {
  HostFacts facts = linux_host(kvm);
  facts.is_wsl2 = true;
  facts.kernel_release = "5.15.90.1-microsoft-standard-WSL2";
  return facts;
}

}  // namespace mvm::platform::testing_hosts
