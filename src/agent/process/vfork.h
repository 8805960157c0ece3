// SPDX-License-Identifier: Apache-2.0
// A child that runs in our memory, on a stack of its own, until it executes a program or exits. We
// wait for that.
//
// fork() copies the page tables, and then every page that either side touches: in an emulated guest
// that is most of the time from a request to the running program.
#pragma once

#include <sys/types.h>

namespace mvm::agent {

// Calls `run(argument)` in the child; what it returns is the exit code. It must not allocate, and
// must not change anything of ours but what `argument` is for. `cgroup_fd` is the directory of the
// cgroup the child is born in, or -1: moving it there afterwards would take the kernel's global
// lock and an RCU grace period, which is milliseconds.
//
// Returns the pid, or -1 with errno. Not for two threads at once.
// Source: clone(2), CLONE_VM, CLONE_VFORK, CLONE_INTO_CGROUP.
pid_t vfork_into(int cgroup_fd, int (*run)(void*), void* argument);

}  // namespace mvm::agent
