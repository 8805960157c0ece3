// SPDX-License-Identifier: Apache-2.0
// Which system calls each kind of thread of mvm-vmm may make: data, and nothing else.
//
//   process start        vcpu threads exist
//   ─────────▶ kSetup ──────────┬──────────▶ kMain   (the same thread, more narrowly)
//                               └──────────▶ kVcpu   (each vcpu thread)
//
// The kernel runs every filter of a thread and takes the strictest answer, and a new thread
// inherits its maker's. So kSetup allows whatever the two others do, and each of them only takes
// away.
//
// Most entries have no condition: the call is harmless by itself, or what makes it dangerous (a
// path) is memory that a filter cannot see; that is what the jail (vmm/jail/jailer.h) is for. Not
// listed on purpose: execve; ptrace; every way to get executable memory; every way to a process or
// a namespace of one's own; every socket but unix ones; making a ring of io_uring once the guest
// runs.
//
// Source: seccomp(2); syscalls(2).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mvm::vmm {

enum class ThreadRole : std::uint8_t { kSetup, kMain, kVcpu };

// "setup", "main", "vcpu".
std::string_view role_name(ThreadRole role);

// One call, and at most one condition on its arguments: (argument & mask) is one of the values.
// A mask of 32 bits is right for every argument that the kernel takes as an int: it ignores the
// rest, and so must we.
struct SyscallRule {
  enum class Kind : std::uint8_t {
    kAllowed,
    kMissing,  // answers ENOSYS, so that the C library takes the older call, whose arguments we see
  };
  static constexpr std::uint64_t kInt = 0xffff'ffff;

  std::string_view name;
  Kind kind = Kind::kAllowed;
  int argument = -1;  // 0 to 5; none: allowed whatever the arguments are
  std::uint64_t mask = 0;
  std::span<const std::uint64_t> values = {};
  bool own_process = false;  // instead of `values`: the caller's own process id
};

// For tables of rules: a call that is allowed when an argument is one of the values, and one whose
// first argument must be the caller's own process id.
constexpr SyscallRule when(std::string_view name, int argument,
                           std::span<const std::uint64_t> values,
                           std::uint64_t mask = SyscallRule::kInt) {
  return {name, SyscallRule::Kind::kAllowed, argument, mask, values};
}
constexpr SyscallRule own_process(std::string_view name) {
  return {name, SyscallRule::Kind::kAllowed, 0, SyscallRule::kInt, {}, true};
}

// The rules of a role, in groups as they stand in policy.cc; the same call may stand in several.
std::vector<std::span<const SyscallRule>> policy_of(ThreadRole role);

}  // namespace mvm::vmm
