// SPDX-License-Identifier: Apache-2.0
// Gathers HostFacts of the running Linux machine.
#pragma once

#include <string>

#include "platform/host_facts.h"

namespace mvm::platform {

struct CollectOptions {
  std::string cache_dir;    // remembers the KVM probe
  std::string data_dir;     // whose disk is measured; need not exist yet
  std::string program_dir;  // where mvm's own engine is, before PATH
};

// What choosing a backend needs: system, processor, KVM, engine paths. Starts no process. Time: <=
// 2 ms when the KVM probe of this boot is remembered.
HostFacts collect_minimal(const CollectOptions& options);

// Everything, versions of programs included (each is run once, for at most two seconds).
HostFacts collect_full(const CollectOptions& options);

// Whether this is WSL2: by its kernel's release ("5.15.90.1-microsoft-standard-WSL2"), or by the
// interoperability with Windows under another kernel. Pure.
bool is_wsl2(std::string_view kernel_release, bool interop);

// "QEMU emulator version 7.2.22 (Debian 1:7.2…)" → "7.2.22": the first word that looks like a
// version.
std::string parse_version(std::string_view text);

}  // namespace mvm::platform
