// SPDX-License-Identifier: Apache-2.0
// The namespaces of a jailed process, and the fork that puts it into its process namespace.
//
// Source: namespaces(7), user_namespaces(7), pid_namespaces(7).
#pragma once

#include <sys/types.h>

#include <string>

#include "core/result.h"
#include "vmm/jail/jailer.h"

namespace mvm::vmm {

// A user namespace in which we are `uid` and `gid` and nobody else exists. Needs /proc.
Result<> enter_user_namespace(uid_t uid, gid_t gid);

// unshare(2) of one kind (CLONE_NEW…). Errors: kUnavailable when this kernel or this user has none.
Result<> unshare_namespace(int kind);

Result<> join_net_namespace(const std::string& path);

struct FinalFork {
  JailParent parent = JailParent::kGuards;
  std::string pid_file;
  bool new_session = false;
};

// Returns in the child only. A child that is guarded dies with its parent.
Result<> fork_into_jail(const FinalFork& options);

}  // namespace mvm::vmm
