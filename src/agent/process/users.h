// SPDX-License-Identifier: Apache-2.0
// Who a process in the guest runs as: lookup in the guest's own /etc/passwd and /etc/group.
//
// The files are parsed by hand: a static glibc cannot load the image's NSS modules, and must not.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace mvm::agent {

struct Credentials {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary
  std::string name;           // empty for a number that /etc/passwd does not know
  std::string home = "/";
};

// "", "name", "uid", "name:group" or "uid:gid". Empty is root. A name must exist; a number need
// not. With an explicit group the supplementary groups are dropped, as OCI runtimes do. Errors:
// kInvalidArgument naming the user or group.
Result<Credentials> resolve_user(std::string_view spec, std::string_view passwd,
                                 std::string_view group);

// The same with the guest's files; a missing file counts as empty.
Result<Credentials> lookup_user(std::string_view spec);

}  // namespace mvm::agent
