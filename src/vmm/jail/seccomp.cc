// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/seccomp.h"

#include <linux/filter.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <memory>
#include <string>

#include "sys/io.h"

namespace mvm::vmm {
namespace {

static_assert(sizeof(sock_filter) == sizeof(std::uint64_t));

using Context = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

Error refused(std::string_view what, int negative_errno) {
  return Error::from_errno("system call filter: " + std::string(what), -negative_errno)
      .with_code(Errc::kUnsupported);
}

Result<> add(scmp_filter_ctx context, const SyscallRule& rule, int number, std::uint32_t action,
             pid_t self) {
  // A rule that stands in two groups is no mistake.
  const auto check = [&rule](int rc) -> Result<> {
    if (rc == 0 || rc == -EEXIST) return {};
    return refused(rule.name, rc);
  };
  if (rule.argument < 0) return check(::seccomp_rule_add(context, action, number, 0));
  const auto argument = static_cast<unsigned>(rule.argument);
  const auto add_value = [&](std::uint64_t value) {
    const scmp_arg_cmp test{argument, SCMP_CMP_MASKED_EQ, rule.mask, value & rule.mask};
    return check(::seccomp_rule_add_array(context, action, number, 1, &test));
  };
  if (rule.own_process) return add_value(static_cast<std::uint64_t>(self));
  for (const std::uint64_t value : rule.values) MVM_TRY(add_value(value));
  return {};
}

Result<> add(scmp_filter_ctx context, const SyscallRule& rule, pid_t self) {
  const std::string name(rule.name);
  const int number = ::seccomp_syscall_resolve_name(name.c_str());
  if (number == __NR_SCMP_ERROR)
    return Error(Errc::kUnsupported, "system call filter: there is no call '" + name + "'");
  // Other architectures lack some of the calls that the policy names.
  if (number < 0) return {};
  const std::uint32_t action =
      rule.kind == SyscallRule::Kind::kMissing ? SCMP_ACT_ERRNO(ENOSYS) : SCMP_ACT_ALLOW;
  return add(context, rule, number, action, self);
}

Result<std::vector<std::uint64_t>> export_program(scmp_filter_ctx context) {
  const sys::UniqueFd file = MVM_TRY(sys::memory_file("filter", ""));
  if (const int rc = ::seccomp_export_bpf(context, file.get()); rc != 0)
    return refused("export", rc);
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  if (size <= 0 || ::lseek(file.get(), 0, SEEK_SET) != 0) return Error::from_errno("lseek");
  std::vector<std::uint64_t> program(static_cast<std::size_t>(size) / sizeof(sock_filter));
  if (program.size() > BPF_MAXINSNS)
    return Error(Errc::kLimit, "system call filter: too many rules for one program");
  MVM_TRY(sys::read_full(file.get(), std::as_writable_bytes(std::span(program))));
  return program;
}

Result<std::vector<std::uint64_t>> compile_program(
    std::span<const std::span<const SyscallRule>> groups, SeccompMode mode, pid_t self) {
  if (mode == SeccompMode::kOff) return std::vector<std::uint64_t>{};
  const std::uint32_t denied = mode == SeccompMode::kLog ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS;
  const Context context(::seccomp_init(denied), ::seccomp_release);
  if (!context) return Error(Errc::kUnsupported, "system call filter: the library cannot start");
  // Calls through another instruction set's table are no way around the policy.
  if (const int rc = ::seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, denied); rc != 0)
    return refused("other instruction sets", rc);
  // A search tree over the calls' numbers. The kernel runs the program once for every number there
  // is, to remember calls that are allowed whatever their arguments: with a chain of comparisons
  // that is the larger part of installing it. What it runs for later is mostly KVM_RUN.
  constexpr std::uint32_t kTree = 2;
  if (const int rc = ::seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, kTree); rc != 0)
    return refused("search tree", rc);
  for (const auto& group : groups) {
    for (const SyscallRule& rule : group) MVM_TRY(add(context.get(), rule, self));
  }
  return export_program(context.get());
}

}  // namespace

Result<SeccompFilter> SeccompFilter::compile(std::span<const std::span<const SyscallRule>> groups,
                                             SeccompMode mode) {
  return compile(groups, mode, ::getpid());
}

Result<SeccompFilter> SeccompFilter::compile(std::span<const std::span<const SyscallRule>> groups,
                                             SeccompMode mode, pid_t own_process) {
  return SeccompFilter(MVM_TRY(compile_program(groups, mode, own_process)));
}

Result<SeccompFilter> SeccompFilter::compile(ThreadRole role, SeccompMode mode) {
  return compile(role, mode, ::getpid());
}

Result<SeccompFilter> SeccompFilter::compile(ThreadRole role, SeccompMode mode, pid_t own_process) {
  return SeccompFilter(MVM_TRY_CTX(compile_program(policy_of(role), mode, own_process),
                                   "role " + std::string(role_name(role))));
}

Result<> install_filter(ThreadRole role, SeccompMode mode) {
  return MVM_TRY(SeccompFilter::compile(role, mode)).install();
}

}  // namespace mvm::vmm
