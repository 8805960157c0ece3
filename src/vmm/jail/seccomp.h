// SPDX-License-Identifier: Apache-2.0
// System call filters: compiled from policy data, installed by each thread for itself. The program
// does not compile its own at run time: vmm/filters/builtin_filters.h has them ready.
//
// A filter can never be taken off again, only narrowed by another one. Installing it also gives up
// new privileges for good (no_new_privs).
//
// Source: seccomp(2), Documentation/userspace-api/seccomp_filter.rst of Linux.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "vmm/jail/policy.h"

namespace mvm::vmm {

enum class SeccompMode {
  kKill,  // the whole process dies at the first call that is not allowed, with SIGSYS
  kLog,   // such calls are made and noted in the kernel's log: to find what a policy lacks
  kOff,   // no filter at all
};

class SeccompFilter {
 public:
  // The program of this role; about 1 ms. Rules about the own process hold for the caller's.
  // Errors: kUnsupported when the library cannot express the policy.
  static Result<SeccompFilter> compile(ThreadRole role, SeccompMode mode);
  // The same for a process of this id.
  static Result<SeccompFilter> compile(ThreadRole role, SeccompMode mode, pid_t own_process);
  // The same for rules from elsewhere (vmm/jail/filter_file.h), with kKill or kLog.
  static Result<SeccompFilter> compile(std::span<const std::span<const SyscallRule>> groups,
                                       SeccompMode mode);
  static Result<SeccompFilter> compile(std::span<const std::span<const SyscallRule>> groups,
                                       SeccompMode mode, pid_t own_process);
  // A program that has been compiled before, one struct sock_filter each; none: kOff.
  static SeccompFilter from_program(std::vector<std::uint64_t> program) {
    return SeccompFilter(std::move(program));
  }

  // The same for one that holds the process id of another process, as operands (the upper half) of
  // the instructions at these places: there it holds ours.
  static SeccompFilter for_this_process(std::span<const std::uint64_t> program,
                                        std::span<const std::size_t> places);

  // Confines the calling thread and the threads it makes from now on; nothing when made with kOff.
  // Threads: may be called by several at once.
  // Errors: kUnavailable when this kernel has no filters, kPermission.
  Result<> install() const;

  // Its instructions, one struct sock_filter each; none with kOff.
  std::span<const std::uint64_t> program() const { return program_; }

 private:
  explicit SeccompFilter(std::vector<std::uint64_t> program) : program_(std::move(program)) {}
  std::vector<std::uint64_t> program_;  // struct sock_filter each
};

// compile() and install() at once.
Result<> install_filter(ThreadRole role, SeccompMode mode);

}  // namespace mvm::vmm
