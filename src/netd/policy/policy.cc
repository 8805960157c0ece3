// SPDX-License-Identifier: Apache-2.0
#include "netd/policy/policy.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

namespace mvm::netd {
namespace {

using Rule = vmm::SyscallRule;
using vmm::own_process;
using vmm::when;
using Value = std::uint64_t;

constexpr Value kNothing[] = {0};

// Memory, time, locks, the end.
constexpr Rule kProcess[] = {
    {"brk"},
    {"munmap"},
    {"mremap"},
    {"madvise"},
    when("mmap", 2, kNothing, PROT_EXEC),
    when("mprotect", 2, kNothing, PROT_EXEC),
    {"futex"},
    {"clock_gettime"},
    {"gettimeofday"},
    {"time"},
    {"restart_syscall"},
    {"rt_sigaction"},
    {"rt_sigprocmask"},
    {"rt_sigreturn"},
    own_process("kill"),
    own_process("tgkill"),
    {"getpid"},
    {"gettid"},
    {"getrandom"},
    {"exit"},
    {"exit_group"},
};

// Files are for reading only.
constexpr std::uint64_t kWriting = O_ACCMODE | O_CREAT | O_TRUNC;
constexpr Rule kFiles[] = {
    when("open", 1, kNothing, kWriting),
    when("openat", 2, kNothing, kWriting),
    {"read"},
    {"readv"},
    {"write"},
    {"writev"},
    {"lseek"},
    {"close"},
    {"stat"},
    {"fstat"},
    {"newfstatat"},
    {"statx"},
};

constexpr Value kInternet[] = {AF_INET};
constexpr Value kDescriptorCommands[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL};
constexpr Value kRequests[] = {FIONBIO, FIONREAD, SIOCATMARK};
// bind and listen: a guest's FTP client that is called back.
constexpr Rule kSockets[] = {
    when("socket", 0, kInternet),
    {"bind"},
    {"listen"},
    {"accept"},
    {"accept4"},
    {"connect"},
    {"shutdown"},
    {"getsockopt"},
    {"setsockopt"},
    {"getsockname"},
    {"getpeername"},
    {"recvmsg"},
    {"sendmsg"},
    {"recvfrom"},
    {"sendto"},
    {"poll"},
    {"ppoll"},
    when("fcntl", 1, kDescriptorCommands),
    when("ioctl", 1, kRequests),
};

}  // namespace

std::vector<std::span<const vmm::SyscallRule>> policy() { return {kProcess, kFiles, kSockets}; }

}  // namespace mvm::netd
