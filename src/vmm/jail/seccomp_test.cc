// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/seccomp.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <thread>

#include "sys/files.h"
#include "vmm/jail/testing_child.h"

namespace mvm::vmm {
namespace {

constexpr ThreadRole kRoles[] = {ThreadRole::kSetup, ThreadRole::kMain, ThreadRole::kVcpu};

// An attempt to make a call; what it returns does not matter to those who die of it.
struct Attempt {
  const char* name;
  long (*call)();
};

void PrintTo(const Attempt& attempt, std::ostream* out) { *out << attempt.name; }

long raw_clone(unsigned long flags) { return ::syscall(SYS_clone, flags, 0, 0, 0, 0); }

constexpr Attempt kForbiddenToAll[] = {
    {"Execve", [] { return static_cast<long>(::execl("/bin/true", "true", nullptr)); }},
    {"Execveat",
     [] { return ::syscall(SYS_execveat, AT_FDCWD, "/bin/true", nullptr, nullptr, 0); }},
    {"Ptrace", [] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }},
    {"ProcessVmReadv",
     [] { return ::syscall(SYS_process_vm_readv, 1, nullptr, 0, nullptr, 0, 0); }},
    {"InetSocket", [] { return static_cast<long>(::socket(AF_INET, SOCK_STREAM, 0)); }},
    {"NetlinkSocket", [] { return static_cast<long>(::socket(AF_NETLINK, SOCK_RAW, 0)); }},
    {"VsockSocket", [] { return static_cast<long>(::socket(AF_VSOCK, SOCK_STREAM, 0)); }},
    {"ExecutableMemory",
     [] {
       return reinterpret_cast<long>(
           ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
     }},
    {"ExecutableMemoryByHighBits",
     [] {
       return ::syscall(SYS_mmap, 0UL, 4096UL, 0xffff'ffff'0000'0004UL, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1L, 0L);
     }},
    {"MakingMemoryExecutable",
     [] {
       void* page = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
       return static_cast<long>(::mprotect(page, 4096, PROT_READ | PROT_EXEC));
     }},
    {"UnlistedRequest", [] { return static_cast<long>(::ioctl(0, TIOCSTI, "x")); }},
    {"UnlistedRequestOfKvm",
     [] { return static_cast<long>(::ioctl(0, KVM_SET_PMU_EVENT_FILTER, 0)); }},
    {"NewUserNamespace", [] { return static_cast<long>(::unshare(CLONE_NEWUSER)); }},
    {"Fork", [] { return raw_clone(SIGCHLD); }},
    {"CloneIntoNewNamespace", [] { return raw_clone(CLONE_NEWUSER | SIGCHLD); }},
    {"Mount", [] { return ::syscall(SYS_mount, "a", "/", "tmpfs", 0, nullptr); }},
    {"OpenTree", [] { return ::syscall(SYS_open_tree, AT_FDCWD, "/", 0); }},
    {"Bpf", [] { return ::syscall(SYS_bpf, 0, nullptr, 0); }},
    {"PerfEventOpen", [] { return ::syscall(SYS_perf_event_open, nullptr, 0, 0, 0, 0); }},
    {"Keyctl", [] { return ::syscall(SYS_keyctl, 0, 0, 0, 0, 0); }},
    {"SetUid", [] { return static_cast<long>(::setuid(0)); }},
    {"Personality", [] { return ::syscall(SYS_personality, 0x0400000UL); }},
    {"KillingAnotherProcess", [] { return static_cast<long>(::kill(1, 0)); }},
    {"KillingAllProcesses", [] { return static_cast<long>(::kill(-1, 0)); }},
    {"SignallingAnotherProcess", [] { return ::syscall(SYS_tgkill, ::getppid(), ::getppid(), 0); }},
    {"OtherInstructionSet",
     [] {
       long out = 20;  // getpid in the table of 32-bit programs
       __asm__ volatile("int $0x80" : "+a"(out));
       return out;
     }},
    {"X32Table", [] { return ::syscall(0x4000'0000L + SYS_getpid); }},
    {"UnknownCall", [] { return ::syscall(900); }},
};

constexpr Attempt kForbiddenToMain[] = {
    {"IoUring", [] { return ::syscall(SYS_io_uring_setup, 8, nullptr); }},
    {"RunningAVcpu", [] { return static_cast<long>(::ioctl(0, KVM_RUN, 0)); }},
    {"CreatingAVm", [] { return static_cast<long>(::ioctl(0, KVM_CREATE_VM, 0)); }},
    {"NewThread", [] { return raw_clone(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM); }},
    {"AnotherFilter", [] { return ::syscall(SYS_seccomp, 1, 0, nullptr); }},
    {"Dumpable", [] { return static_cast<long>(::prctl(PR_SET_DUMPABLE, 1)); }},
};

constexpr Attempt kForbiddenToVcpu[] = {
    {"IoUring", [] { return ::syscall(SYS_io_uring_enter, 0, 0, 0, 0, nullptr, 0); }},
    {"Open", [] { return static_cast<long>(::open("/etc/passwd", O_RDONLY)); }},
    {"UnixSocket", [] { return static_cast<long>(::socket(AF_UNIX, SOCK_STREAM, 0)); }},
    {"Connect", [] { return static_cast<long>(::connect(0, nullptr, 0)); }},
    {"Rename", [] { return static_cast<long>(::rename("/nowhere/a", "/nowhere/b")); }},
    {"CreatingAVcpu", [] { return static_cast<long>(::ioctl(0, KVM_CREATE_VCPU, 0)); }},
    {"ChangingMemoryOfTheMachine",
     [] { return static_cast<long>(::ioctl(0, KVM_SET_USER_MEMORY_REGION, nullptr)); }},
    {"NewThread", [] { return raw_clone(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM); }},
};

ChildEnd attempt_as(ThreadRole role, const Attempt& attempt) {
  return in_child([&](int fd) {
    if (!install_filter(role, SeccompMode::kKill)) return 2;
    (void)sys::write_full(fd, "installed");
    attempt.call();
    return 0;
  });
}

void expect_death(ThreadRole role, const Attempt& attempt) {
  const ChildEnd end = attempt_as(role, attempt);
  EXPECT_EQ(end.said, "installed");
  EXPECT_EQ(end.status.signal, SIGSYS) << role_name(role) << ": " << end.status.text();
}

std::string name_of(const testing::TestParamInfo<Attempt>& info) { return info.param.name; }

class ForbiddenToAll : public testing::TestWithParam<Attempt> {};
TEST_P(ForbiddenToAll, EndsTheProcessInEveryRole) {
  for (const ThreadRole role : kRoles) expect_death(role, GetParam());
}
INSTANTIATE_TEST_SUITE_P(Seccomp, ForbiddenToAll, testing::ValuesIn(kForbiddenToAll), name_of);

class ForbiddenToMain : public testing::TestWithParam<Attempt> {};
TEST_P(ForbiddenToMain, EndsTheProcess) { expect_death(ThreadRole::kMain, GetParam()); }
INSTANTIATE_TEST_SUITE_P(Seccomp, ForbiddenToMain, testing::ValuesIn(kForbiddenToMain), name_of);

class ForbiddenToVcpu : public testing::TestWithParam<Attempt> {};
TEST_P(ForbiddenToVcpu, EndsTheProcess) { expect_death(ThreadRole::kVcpu, GetParam()); }
INSTANTIATE_TEST_SUITE_P(Seccomp, ForbiddenToVcpu, testing::ValuesIn(kForbiddenToVcpu), name_of);

TEST(SeccompPolicy, NamesOnlyCallsThatThisKernelHas) {
  for (const ThreadRole role : kRoles) {
    for (const auto& group : policy_of(role)) {
      for (const SyscallRule& rule : group) {
        const int number = ::seccomp_syscall_resolve_name(std::string(rule.name).c_str());
        EXPECT_GE(number, 0) << rule.name;
      }
    }
  }
}

TEST(SeccompPolicy, SetupAllowsAllThatTheRolesAfterItDo) {
  const auto listed = [](ThreadRole role) {
    std::vector<std::tuple<std::string_view, int, const void*>> out;
    for (const auto& group : policy_of(role)) {
      for (const SyscallRule& rule : group)
        out.emplace_back(rule.name, rule.argument, rule.values.data());
    }
    return out;
  };
  const auto setup = listed(ThreadRole::kSetup);
  EXPECT_THAT(setup, testing::IsSupersetOf(listed(ThreadRole::kMain)));
  EXPECT_THAT(setup, testing::IsSupersetOf(listed(ThreadRole::kVcpu)));
}

// What the I/O thread does all day, in one child: each step must work, not only survive.
bool works_as_main(const std::string& dir) {
  const int file = ::open((dir + "/a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const iovec part{const_cast<char*>("abc"), 3};
  const bool files = file >= 0 && ::pwritev(file, &part, 1, 0) == 3 && ::fdatasync(file) == 0 &&
                     ::ftruncate(file, 1 << 20) == 0 &&
                     ::fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0 &&
                     ::rename((dir + "/a").c_str(), (dir + "/b").c_str()) == 0;
  int pair[2];
  const bool sockets = ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 &&
                       ::send(pair[0], "x", 1, 0) == 1;
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{EPOLLIN, {}};
  const bool events = ::epoll_ctl(epoll, EPOLL_CTL_ADD, pair[1], &event) == 0 &&
                      ::epoll_wait(epoll, &event, 1, 1000) == 1 &&
                      ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC) >= 0 &&
                      ::eventfd(0, EFD_CLOEXEC) >= 0;
  const bool memory = std::vector<char>(8 << 20).size() > 0 && ::madvise(nullptr, 0, 4) == 0;
  // Allowed requests reach the kernel, which then says what it thinks of the descriptor.
  const bool requests = ::ioctl(-1, KVM_GET_DIRTY_LOG, nullptr) == -1 && errno == EBADF;
  return files && sockets && events && memory && requests;
}

TEST(Seccomp, LetsTheMainThreadDoItsWork) {
  const sys::TempDir dir = sys::TempDir::create("/tmp", "mvm-seccomp-").value();
  const ChildEnd end = in_child([&](int) {
    if (!install_filter(ThreadRole::kMain, SeccompMode::kKill)) return 2;
    return works_as_main(dir.path()) ? 0 : 1;
  });
  EXPECT_TRUE(end.status.ok()) << end.status.text();
}

TEST(Seccomp, ComparesTheRequestOfAnIoctlAsTheKernelDoes) {
  const ChildEnd end = in_child([](int) {
    if (!install_filter(ThreadRole::kVcpu, SeccompMode::kKill)) return 2;
    const long out = ::syscall(SYS_ioctl, -1, 0xffff'ffff'0000'0000UL | KVM_RUN, 0);
    return out == -1 && errno == EBADF ? 0 : 1;
  });
  EXPECT_TRUE(end.status.ok()) << end.status.text();
}

// The life of a monitor: filter, thread, narrower filters. `last` is what the vcpu thread does
// after its work. Not a std::thread: its virtual call makes UBSan ask the kernel what memory there
// is.
struct Vcpu {
  SeccompFilter filter;
  long (*last)();
  bool worked = false;

  static void* run(void* self) {
    Vcpu& vcpu = *static_cast<Vcpu*>(self);
    vcpu.worked = vcpu.filter.install() && ::ioctl(-1, KVM_RUN, 0) == -1 && errno == EBADF;
    vcpu.last();
    return nullptr;
  }
};

ChildEnd life(long (*last)()) {
  return in_child([last](int fd) {
    if (!install_filter(ThreadRole::kSetup, SeccompMode::kKill)) return 2;
    auto filter = SeccompFilter::compile(ThreadRole::kVcpu, SeccompMode::kKill);
    if (!filter) return 3;
    Vcpu vcpu{std::move(*filter), last};
    pthread_t thread;
    if (::pthread_create(&thread, nullptr, Vcpu::run, &vcpu) != 0) return 4;
    if (!install_filter(ThreadRole::kMain, SeccompMode::kKill)) return 5;
    ::pthread_join(thread, nullptr);
    (void)sys::write_full(fd, "joined");
    return vcpu.worked ? 0 : 1;
  });
}

TEST(Seccomp, NarrowsFromSetupToMainAndVcpuThreads) {
  const ChildEnd end = life([] { return 0L; });
  EXPECT_TRUE(end.status.ok()) << end.status.text();
  EXPECT_EQ(end.said, "joined");
}

TEST(Seccomp, AForbiddenCallOfOneThreadEndsTheWholeProcess) {
  const ChildEnd end = life([] { return static_cast<long>(::open("/etc/passwd", O_RDONLY)); });
  EXPECT_EQ(end.status.signal, SIGSYS);
  EXPECT_EQ(end.said, "");
}

TEST(Seccomp, TheMainThreadLosesWhatOnlySetupNeeds) {
  const ChildEnd end = in_child([](int fd) {
    if (!install_filter(ThreadRole::kSetup, SeccompMode::kKill)) return 2;
    std::thread([] {}).join();
    (void)sys::write_full(fd, "thread");
    if (!install_filter(ThreadRole::kMain, SeccompMode::kKill)) return 3;
    std::thread([] {}).join();
    return 0;
  });
  EXPECT_EQ(end.said, "thread");
  EXPECT_EQ(end.status.signal, SIGSYS);
}

TEST(Seccomp, LogModeLetsEveryCallThrough) {
  const ChildEnd end = in_child([](int) {
    if (!install_filter(ThreadRole::kVcpu, SeccompMode::kLog)) return 2;
    return ::open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0 ? 0 : 1;
  });
  EXPECT_TRUE(end.status.ok()) << end.status.text();
}

TEST(Seccomp, OffInstallsNothingAndKeepsPrivileges) {
  const ChildEnd end = in_child([](int) {
    if (!install_filter(ThreadRole::kVcpu, SeccompMode::kOff)) return 2;
    return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0 && ::prctl(PR_GET_SECCOMP) == 0 ? 0 : 1;
  });
  EXPECT_TRUE(end.status.ok()) << end.status.text();
}

TEST(Seccomp, AFilterIsCompiledOnceAndInstalledByMany) {
  const auto filter = SeccompFilter::compile(ThreadRole::kMain, SeccompMode::kKill).value();
  EXPECT_GT(filter.program().size(), 100U);
  for (int i = 0; i < 2; ++i) {
    const ChildEnd end = in_child([&](int) {
      if (!filter.install()) return 2;
      ::unshare(CLONE_NEWNS);
      return 0;
    });
    EXPECT_EQ(end.status.signal, SIGSYS);
  }
}

}  // namespace
}  // namespace mvm::vmm
