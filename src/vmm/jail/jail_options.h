// SPDX-License-Identifier: Apache-2.0
// A jail as it is written on a command line: that of mvm-vmm (`--jail`, `--jail-…`) and, in part,
// of mvm-jailer.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "vmm/jail/jailer.h"

namespace mvm::vmm {

struct JailOptions {
  std::vector<std::string> files;  // "PATH[:INSIDE][:rw]", see parse_jail_entry()
  std::vector<int> descriptors;    // kept open, apart from 0, 1 and 2
  std::string working_dir;         // inside; empty: "/"
  std::optional<unsigned> uid;
  std::optional<unsigned> gid;
  std::string net = "new";            // "new", "host", or the path of a network namespace
  std::vector<std::string> optional;  // names of layers
  std::vector<std::string> limits;    // "fsize=BYTES", "no-file=COUNT"
  std::vector<std::string> cgroups;   // "FILE=VALUE"
  int cgroup_version = 1;
  std::string parent_cgroup;
};

// "/a", "/a:/b", "/a:rw", "/a:/b:rw": shown at the same place or at /b, read-only or not.
// Errors: kInvalidArgument.
Result<JailEntry> parse_jail_entry(std::string_view text);
// Errors: kInvalidArgument: another resource, not a number.
Result<ResourceLimit> parse_resource_limit(std::string_view text);
// Nothing when there is nothing to do. Errors: kInvalidArgument.
Result<std::optional<CgroupConfig>> make_cgroup(const JailOptions& options, const std::string& id);

// What a monitor opens: /dev/kvm, /dev/net/tun, /dev/urandom and /dev/userfaultfd; those that this
// host lacks are left out.
std::vector<JailDevice> monitor_devices();

// The jail of the monitor `id` that enters it itself: a root in memory with the files, nothing
// else, and a process namespace whose outer process guards. Errors: kInvalidArgument.
Result<JailConfig> make_jail(const JailOptions& options, const std::string& id);

}  // namespace mvm::vmm
