// SPDX-License-Identifier: Apache-2.0
// Which backend runs a machine, and how strong its boundary is. Pure.
//
// Order of automatic choice (docs: architecture, decision 8): firecracker, mvm-vmm, qemu with KVM,
// libkrun, vfkit, qemu by emulation, docker only if allowed. Isolation is never silently lowered
// below the minimum that was asked for.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "platform/host_facts.h"

namespace mvm::platform {

struct SelectionRequest {
  std::string backend = "auto";  // or a backend's name
  // Nothing: emulated, or what docker gives where that is asked for or allowed.
  std::optional<spec::Isolation> minimum;
  std::optional<spec::Arch> guest_arch;  // nothing: the host's
  bool allow_docker = false;             // by configuration; --backend docker also allows it
  bool experimental = false;             // a host whose support is experimental will do
};

struct Selection {
  std::string backend;      // "qemu"
  std::string accelerator;  // "kvm", "tcg", "hvf"; empty where there is no choice
  spec::Isolation isolation = spec::Isolation::kEmulated;
  std::string reason;  // why this one: "KVM is not usable (…), so qemu emulates"
  std::string
      posture;  // the line every start prints: "mvm: backend qemu (tcg), isolation emulated: …"
};

// `compiled_in`: the backends that this binary contains.
// Errors: kInvalidArgument for a name that is no backend (lists those that are); kUnsupported for a
// backend that is not in this build or a host without any; kUnavailable when nothing reaches the
// minimum or a program is missing.
Result<Selection> select_backend(const HostFacts& facts, const std::set<std::string>& compiled_in,
                                 const SelectionRequest& request);

// Every backend of the matrix, part of this build or not, in the order of preference; `fake` last.
std::span<const std::string_view> known_backends();

std::string_view isolation_name(spec::Isolation isolation);  // "microvm", "emulated", "container"
Result<spec::Isolation> parse_isolation(
    std::string_view text);  // Errors: kInvalidArgument lists the names
std::string posture_line(const std::string& backend, const std::string& accelerator,
                         spec::Isolation isolation);

}  // namespace mvm::platform
