// SPDX-License-Identifier: Apache-2.0
// Which system calls mvm-netd may make once it serves: data, and nothing else.
//
// It has sockets, that is its work: of IPv4, and no others. It opens files for reading (the list of
// the host's name servers, which may change) and can write, make or run none.
//
// Source: what libslirp 4.7 and the C library call; seccomp(2).
#pragma once

#include <span>
#include <vector>

#include "vmm/jail/policy.h"

namespace mvm::netd {

std::vector<std::span<const vmm::SyscallRule>> policy();

}  // namespace mvm::netd
