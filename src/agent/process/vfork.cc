// SPDX-License-Identifier: Apache-2.0
#include "agent/process/vfork.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include <array>
#include <cstddef>
#include <cstdint>

namespace mvm::agent {
namespace {

constexpr std::size_t kStackSize = 256 * 1024;
alignas(64) std::array<std::byte, kStackSize> g_stack;

// The C library has no clone3(); its syscall() would return into the child on a stack that holds
// nothing to return to. Returns the pid or -errno.
long clone3(clone_args& args, int (*run)(void*), void* argument) {
#if defined(__x86_64__)
  long result = SYS_clone3;
  register int (*function)(void*) asm("r12") = run;
  register void* data asm("r13") = argument;
  asm volatile(
      "syscall\n"
      "test %%rax, %%rax\n"
      "jnz 1f\n"
      "xor %%ebp, %%ebp\n"
      "mov %%r13, %%rdi\n"
      "call *%%r12\n"
      "mov %%eax, %%edi\n"
      "mov %[exit], %%eax\n"
      "syscall\n"
      "1:\n"
      : "+a"(result)
      : "D"(&args), "S"(sizeof args), "r"(function), "r"(data), [exit] "i"(SYS_exit_group)
      : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long result asm("x0") = reinterpret_cast<long>(&args);
  register long size asm("x1") = sizeof args;
  register long number asm("x8") = SYS_clone3;
  register int (*function)(void*) asm("x20") = run;
  register void* data asm("x21") = argument;
  asm volatile(
      "svc #0\n"
      "cbnz x0, 1f\n"
      "mov x29, #0\n"
      "mov x0, x21\n"
      "blr x20\n"
      "mov x8, %[exit]\n"
      "svc #0\n"
      "1:\n"
      : "+r"(result)
      : "r"(size), "r"(number), "r"(function), "r"(data), [exit] "i"(SYS_exit_group)
      : "memory");
  return result;
#else
  return -ENOSYS;
#endif
}

}  // namespace

pid_t vfork_into(int cgroup_fd, int (*run)(void*), void* argument) {
#if defined(__SANITIZE_ADDRESS__)
  // A child never returns from its frames, so AddressSanitizer keeps their marks for the next one.
  ASAN_UNPOISON_MEMORY_REGION(g_stack.data(), g_stack.size());
#endif
  clone_args args{};
  args.flags = CLONE_VM | CLONE_VFORK;
  args.exit_signal = SIGCHLD;
  args.stack = reinterpret_cast<std::uintptr_t>(g_stack.data());
  args.stack_size = g_stack.size();
  if (cgroup_fd >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<__u64>(cgroup_fd);
  }
  const long result = clone3(args, run, argument);
  if (result >= 0) return static_cast<pid_t>(result);
  errno = static_cast<int>(-result);
  // A container engine's filter that does not know clone3: it has no cgroup of ours either.
  if (errno != ENOSYS || cgroup_fd >= 0) return -1;
  return ::clone(run, g_stack.data() + g_stack.size(), CLONE_VM | CLONE_VFORK | SIGCHLD, argument);
}

}  // namespace mvm::agent
