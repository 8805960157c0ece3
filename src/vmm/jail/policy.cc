// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/policy.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "vmm/kvm/kvm_requests.h"

namespace mvm::vmm {
namespace {

using Rule = SyscallRule;
using Value = std::uint64_t;

constexpr Rule missing(std::string_view name) { return {name, Rule::Kind::kMissing}; }

constexpr Value kNothing[] = {0};

// What the C library needs in any thread: memory, locks, time, signals, the end.
constexpr Rule kEveryThread[] = {
    {"brk"},
    {"munmap"},
    {"mremap"},
    {"madvise"},
    when("mmap", 2, kNothing, PROT_EXEC),
    when("mprotect", 2, kNothing, PROT_EXEC),
    {"futex"},
    {"sched_yield"},
    {"sched_getaffinity"},
    {"rseq"},
    {"set_robust_list"},
    {"membarrier"},
    {"clock_gettime"},
    {"clock_getres"},
    {"gettimeofday"},
    {"time"},
    {"nanosleep"},
    {"clock_nanosleep"},
    {"restart_syscall"},
    {"rt_sigaction"},
    {"rt_sigprocmask"},
    {"rt_sigreturn"},
    {"rt_sigpending"},
    {"rt_sigtimedwait"},
    {"sigaltstack"},
    own_process("kill"),
    own_process("tgkill"),
    {"getpid"},
    {"gettid"},
    {"getrandom"},
    {"exit"},
    {"exit_group"},
};

// Descriptors that are open already.
constexpr Rule kOpenDescriptors[] = {
    {"read"}, {"write"}, {"readv"}, {"writev"}, {"close"}, {"poll"}, {"ppoll"},
};

// Opening and creating are confined by the jail's root, not here.
constexpr Value kDescriptorCommands[] = {
    F_DUPFD_CLOEXEC, F_GETFD,      F_SETFD,      F_GETFL,     F_SETFL,
    F_OFD_GETLK,     F_OFD_SETLK,  F_OFD_SETLKW, F_GETLK,     F_SETLK,
    F_SETLKW,        F_SETPIPE_SZ, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS,
};
constexpr Rule kFiles[] = {
    {"open"},
    {"openat"},
    {"pread64"},
    {"pwrite64"},
    {"preadv"},
    {"pwritev"},
    {"preadv2"},
    {"pwritev2"},
    {"lseek"},
    {"fsync"},
    {"fdatasync"},
    {"sync_file_range"},
    {"ftruncate"},
    {"fallocate"},
    {"fadvise64"},
    {"copy_file_range"},
    {"msync"},
    {"mincore"},
    {"stat"},
    {"lstat"},
    {"fstat"},
    {"newfstatat"},
    {"statx"},
    {"fstatfs"},
    {"access"},
    {"faccessat"},
    {"faccessat2"},
    {"readlink"},
    {"readlinkat"},
    {"flock"},
    {"fchmod"},
    {"rename"},
    {"renameat"},
    {"renameat2"},
    {"linkat"},
    {"unlink"},
    {"unlinkat"},
    {"dup"},
    {"dup3"},
    {"pipe2"},
    {"memfd_create"},
    {"umask"},
    when("fcntl", 1, kDescriptorCommands),
};

constexpr Value kUnix[] = {AF_UNIX};
constexpr Rule kSockets[] = {
    when("socket", 0, kUnix),
    when("socketpair", 0, kUnix),
    {"bind"},
    {"listen"},
    {"accept4"},
    {"connect"},
    {"shutdown"},
    {"getsockopt"},
    {"setsockopt"},
    {"getsockname"},
    {"getpeername"},
    {"recvmsg"},
    {"sendmsg"},
    {"recvmmsg"},
    {"sendmmsg"},
    {"recvfrom"},
    {"sendto"},
};

constexpr Rule kEventLoop[] = {
    {"epoll_create1"},   {"epoll_ctl"}, {"epoll_wait"},     {"epoll_pwait"},
    {"epoll_pwait2"},    {"eventfd2"},  {"timerfd_create"}, {"timerfd_settime"},
    {"timerfd_gettime"}, {"signalfd4"},
};

constexpr Rule kAboutItself[] = {
    {"getppid"},   {"getuid"}, {"geteuid"}, {"getgid"},
    {"getegid"},   {"uname"},  {"sysinfo"}, when("prlimit64", 0, kNothing),
    {"getrusage"}, {"times"},  {"getcpu"},  {"getcwd"},
};

// Terminals (the console on stdio), sizes of block devices and holes, tap devices.
constexpr Value kMainRequests[] = {
    FIONBIO,
    FIONREAD,
    TCGETS,
    TCSETS,
    TCSETSW,
    TCSETSF,
    TIOCGWINSZ,
    BLKGETSIZE64,
    BLKSSZGET,
    BLKPBSZGET,
    BLKDISCARD,
    BLKZEROOUT,
    BLKFLSBUF,
    BLKROGET,
    TUNSETIFF,
    TUNGETIFF,
    TUNSETOFFLOAD,
    TUNSETVNETHDRSZ,
    TUNGETVNETHDRSZ,
    TUNGETFEATURES,
    TUNSETVNETLE,
    // A machine that runs: saving it, its devices' interrupts and doorbells.
    KVM_GET_DIRTY_LOG,
    kKvmGetMsrIndexList,
    KVM_CLEAR_DIRTY_LOG,
    KVM_GET_IRQCHIP,
    KVM_GET_PIT2,
    KVM_GET_CLOCK,
    KVM_SET_CLOCK,
    KVM_IRQFD,
    KVM_IOEVENTFD,
    KVM_REGISTER_COALESCED_MMIO,
    KVM_IRQ_LINE,
    KVM_CHECK_EXTENSION,
    KVM_SET_USER_MEMORY_REGION,
    KVM_SIGNAL_MSI,
};

// The state of one vcpu, saved and restored by its own thread or, while that waits, by the main
// one.
constexpr Value kVcpuState[] = {
    KVM_GET_REGS,        KVM_SET_REGS,        KVM_GET_SREGS,       KVM_SET_SREGS,
    KVM_GET_SREGS2,      KVM_SET_SREGS2,      KVM_GET_FPU,         KVM_SET_FPU,
    kKvmGetXsave,        kKvmGetXsave2,       kKvmSetXsave,        KVM_GET_XCRS,
    KVM_SET_XCRS,        KVM_GET_DEBUGREGS,   KVM_SET_DEBUGREGS,   KVM_GET_LAPIC,
    KVM_SET_LAPIC,       kKvmGetMsrs,         kKvmSetMsrs,         KVM_GET_MP_STATE,
    KVM_SET_MP_STATE,    KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, KVM_GET_TSC_KHZ,
    KVM_SET_TSC_KHZ,     kKvmGetCpuid2,       kKvmSetCpuid2,       KVM_KVMCLOCK_CTRL,
    KVM_GET_DEVICE_ATTR, KVM_SET_DEVICE_ATTR, KVM_HAS_DEVICE_ATTR, KVM_TRANSLATE,
};

constexpr Value kVcpuRequests[] = {
    KVM_RUN,
    KVM_IRQ_LINE,  // the emulated devices on the port bus raise their line where the access is made
};

// Making a machine, from a kernel or from a snapshot, page faults served by another process
// included.
constexpr Value kSetupRequests[] = {
    KVM_GET_API_VERSION,   KVM_CREATE_VM,       KVM_GET_VCPU_MMAP_SIZE, KVM_CREATE_VCPU,
    kKvmGetSupportedCpuid, kKvmGetMsrIndexList, KVM_SET_TSS_ADDR,       KVM_SET_IDENTITY_MAP_ADDR,
    KVM_CREATE_IRQCHIP,    KVM_SET_IRQCHIP,     KVM_CREATE_PIT2,        KVM_SET_PIT2,
    KVM_ENABLE_CAP,        KVM_SET_BOOT_CPU_ID, KVM_CREATE_DEVICE,      UFFDIO_API,
    UFFDIO_REGISTER,       UFFDIO_UNREGISTER,   USERFAULTFD_IOC_NEW,
};

// A thread, in this process and in these namespaces; never a process.
constexpr std::uint64_t kCloneMask = CLONE_THREAD | CLONE_VFORK | CLONE_PTRACE | CLONE_NEWNS |
                                     CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                     CLONE_NEWPID | CLONE_NEWNET;
constexpr Value kThreadOnly[] = {CLONE_THREAD};
constexpr Value kSetupControls[] = {PR_SET_NAME,     PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG,
                                    PR_SET_DUMPABLE, PR_SET_THP_DISABLE,  PR_SET_TIMERSLACK};
constexpr Value kNaming[] = {PR_SET_NAME};
constexpr Value kFilterMode[] = {SECCOMP_SET_MODE_FILTER};

// A ring does what it is asked to without any filter. So rings are made before the guest runs only,
// and the one who makes them takes away all but reading and flushing; the restriction is for good.
constexpr Value kRingRegistrations[] = {IORING_REGISTER_RESTRICTIONS, IORING_REGISTER_ENABLE_RINGS};

constexpr Rule kSetupOnly[] = {
    {"io_uring_setup"},
    when("io_uring_register", 1, kRingRegistrations),
    missing("clone3"),
    when("clone", 0, kThreadOnly, kCloneMask),
    when("seccomp", 0, kFilterMode),
    when("prctl", 0, kSetupControls),
    {"sched_setaffinity"},
    {"userfaultfd"},
    {"mlock"},
    when("ioctl", 1, kSetupRequests),
};

constexpr Rule kMainOnly[] = {
    {"io_uring_enter"},
    when("prctl", 0, kNaming),
    when("ioctl", 1, kMainRequests),
    when("ioctl", 1, kVcpuState),
};

constexpr Rule kVcpuOnly[] = {
    when("prctl", 0, kNaming),
    when("ioctl", 1, kVcpuRequests),
    when("ioctl", 1, kVcpuState),
};

}  // namespace

std::string_view role_name(ThreadRole role) {
  switch (role) {
    case ThreadRole::kSetup:
      return "setup";
    case ThreadRole::kMain:
      return "main";
    case ThreadRole::kVcpu:
      return "vcpu";
  }
  return "";
}

std::vector<std::span<const SyscallRule>> policy_of(ThreadRole role) {
  std::vector<std::span<const SyscallRule>> out = {kEveryThread, kOpenDescriptors};
  if (role != ThreadRole::kVcpu)
    out.insert(out.end(), {kFiles, kSockets, kEventLoop, kAboutItself, kMainOnly});
  if (role != ThreadRole::kMain) out.emplace_back(kVcpuOnly);
  if (role == ThreadRole::kSetup) out.emplace_back(kSetupOnly);
  return out;
}

}  // namespace mvm::vmm
