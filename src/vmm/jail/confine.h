// SPDX-License-Identifier: Apache-2.0
// What a jailed process gives up of itself: descriptors, environment, limits, identity, privileges.
// The steps of jailer.cc; each changes the calling process for good.
#pragma once

#include <sys/types.h>

#include <span>
#include <vector>

#include "core/result.h"

namespace mvm::vmm {

// Closes all but 0, 1, 2 and `keep`; those of 0, 1, 2 that are not open become /dev/null.
Result<> close_descriptors(std::vector<int> keep);

// Empties the environment and wipes the memory that the kernel handed it over in.
// Needs /proc. Source: proc(5), fields 50 and 51 of /proc/PID/stat.
Result<> clear_environment();

// Soft and hard. Source: getrlimit(2).
Result<> set_limit(int resource, std::uint64_t value);

// Takes every capability out of the bounding set, so that no program that is executed gains one.
Result<> empty_bounding_set();

// Gives up all other groups, then becomes this group and user for good.
Result<> change_identity(uid_t uid, gid_t gid);

// Drops every capability, then the way to new ones (no_new_privs).
Result<> drop_privileges();

// 0, 1 and 2 become `null`, an open /dev/null.
Result<> redirect_standard_streams(int null);

}  // namespace mvm::vmm
