// SPDX-License-Identifier: Apache-2.0
// Apart from seccomp.cc, so that programs with ready filters are linked without the library that
// compiles them.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/jail/seccomp.h"

namespace mvm::vmm {

static_assert(sizeof(sock_filter) == sizeof(std::uint64_t));

SeccompFilter SeccompFilter::for_this_process(std::span<const std::uint64_t> program,
                                              std::span<const std::size_t> places) {
  std::vector<std::uint64_t> out(program.begin(), program.end());
  const auto self = static_cast<std::uint64_t>(::getpid());
  for (const std::size_t at : places) out[at] = (out[at] & 0xffff'ffff) | self << 32;
  return from_program(std::move(out));
}

Result<> SeccompFilter::install() const {
  if (program_.empty()) return {};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Error::from_errno("no_new_privs");
  sock_fprog program{static_cast<unsigned short>(program_.size()),
                     reinterpret_cast<sock_filter*>(const_cast<std::uint64_t*>(program_.data()))};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0) return {};
  Error error = Error::from_errno("installing the system call filter");
  if (error.errnum() != ENOSYS && error.errnum() != EINVAL) return error;
  return std::move(error)
      .with_code(Errc::kUnavailable)
      .with_hint("this kernel has no system call filters; --no-seccomp goes without them");
}

}  // namespace mvm::vmm
