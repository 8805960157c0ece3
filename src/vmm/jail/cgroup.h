// SPDX-License-Identifier: Apache-2.0
// Control groups: limits on what a jailed process takes from the host.
//
// Source: cgroups(7); Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of Linux.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"

namespace mvm::vmm {

struct CgroupConfig {
  int version = 1;     // 1 or 2
  std::string parent;  // below the hierarchy's root: "mvm-vmm", "all/mine"
  std::string id;      // of the group to make in it
  // File and value, in the order of writing: {"pids.max", "64"}. The part before the first dot
  // names the controller, and so in version 1 the hierarchy. Without any, version 2 moves the
  // process into `parent` itself if that exists, and version 1 does nothing.
  std::vector<std::pair<std::string, std::string>> settings;
};

// Errors: kInvalidArgument: a version other than 1 and 2, a path that leaves the hierarchy.
Result<> validate(const CgroupConfig& config);

// Where a hierarchy is mounted, by the text of /proc/self/mounts: that of the controller, or for
// version 2 the only one.
std::optional<std::string> cgroup1_mount(std::string_view mounts, std::string_view controller);
std::optional<std::string> cgroup2_mount(std::string_view mounts);

// Makes the groups, writes the settings and moves the calling process there. Groups stay: who
// starts jails removes them. Errors: kUnavailable: no such controller here; those of the files.
Result<> enter_cgroup(const CgroupConfig& config);

}  // namespace mvm::vmm
