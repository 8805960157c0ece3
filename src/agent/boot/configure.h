// SPDX-License-Identifier: Apache-2.0
// Makes the guest what the host's Configure message says: name, clock, randomness, network, limits.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "sys/unique_fd.h"
#include "wire/messages.h"

namespace mvm::agent {

struct Configured {
  sys::UniqueFd workload_cgroup;  // processes of the workload start in it; empty without a limit
};

// `load_network_modules` is called only when there is a network.
Result<Configured> apply_configure(const wire::Configure& configure,
                                   const std::function<Result<>()>& load_network_modules);

// Sets the clock of a guest that was held, unless it is right to a tenth of a second: a clock that
// is should not jump. Units: ns since the epoch.
Result<> follow_clock(std::uint64_t now_ns);

// Content of the three files, pure. `existing` is the image's own /etc/hosts.
std::string hosts_text(std::string_view existing, const std::string& hostname);
// Without the line that hosts_text() has added for this name.
std::string without_host(std::string_view hosts, const std::string& hostname);
std::string resolv_conf_text(const std::vector<std::string>& dns);

}  // namespace mvm::agent
