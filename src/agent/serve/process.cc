// SPDX-License-Identifier: Apache-2.0
#include "agent/serve/process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>

#include "sys/io.h"

namespace mvm::agent {
namespace {

// The agent's own limit is high. The soft limit of programs is the kernel's default: programs that
// close every possible descriptor would take seconds with a million; programs that need more raise
// it, up to the agent's.
constexpr rlim_t kSoftDescriptors = 1024;
constexpr int kExitNotStarted = 127;
constexpr int kPipeSize = 256 * 1024;

// The child's side of the channels.
struct ChildEnds {
  std::array<sys::UniqueFd, 3> fds;  // with a TTY only [0], the slave
  sys::UniqueFd status;
};

// What fork() does, with the child born in the cgroup: moving it there afterwards would take the
// kernel's global lock and an RCU grace period, which is milliseconds. Source: clone(2),
// CLONE_INTO_CGROUP.
pid_t fork_into(int cgroup_fd) {
  if (cgroup_fd < 0) return ::fork();
  clone_args args{};
  args.flags = CLONE_INTO_CGROUP;
  args.exit_signal = SIGCHLD;
  args.cgroup = static_cast<__u64>(cgroup_fd);
  return static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
}

// The agent ignores SIGPIPE and blocks some; it handles none. Setting all 64 would be as many
// system calls.
void reset_signals() {
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void fail(const ChildEnds& ends, StartStage stage, int errnum) {
  const StartFailure failure{stage, errnum};
  [[maybe_unused]] const ssize_t n = ::write(ends.status.get(), &failure, sizeof failure);
  ::_exit(kExitNotStarted);
}

// A raw array of pointers to the strings, ended by a null pointer.
std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

int try_exec(const std::string& path, const ProcessPlan& plan) {
  const std::vector<char*> env = pointers(plan.env);
  ::execve(path.c_str(), pointers(plan.argv).data(), env.data());
  if (errno != ENOEXEC) return errno;
  // A script without "#!" is the shell's, as execvp(3) has it.
  std::vector<std::string> shell = {"/bin/sh", path};
  shell.insert(shell.end(), plan.argv.begin() + 1, plan.argv.end());
  ::execve(shell[0].c_str(), pointers(shell).data(), env.data());
  return ENOEXEC;
}

// Source: execvp(3) for the search and which error wins. Returns the errno.
int exec_in_path(const ProcessPlan& plan) {
  const std::string& name = plan.argv[0];
  if (name.empty()) return ENOENT;
  if (name.find('/') != std::string::npos) return try_exec(name, plan);
  std::string_view path;
  for (const std::string& entry : plan.env) {
    if (entry.starts_with("PATH=")) path = std::string_view(entry).substr(5);
  }
  int result = ENOENT;
  while (true) {
    const std::size_t colon = path.find(':');
    const std::string dir(path.substr(0, colon));
    const int errnum = try_exec((dir.empty() ? "." : dir) + "/" + name, plan);
    if (errnum == EACCES) result = EACCES;
    if (errnum != EACCES && errnum != ENOENT && errnum != ENOTDIR) return errnum;
    if (colon == std::string_view::npos) return result;
    path.remove_prefix(colon + 1);
  }
}

// glibc's wrappers would signal threads that a raw clone does not have; the system calls are what
// is meant.
bool become(const Credentials& user) {
  // An ordinary process (tests) cannot change its groups, and need not to stay what it is.
  if (::geteuid() != 0 && user.uid == ::geteuid()) return true;
  return ::syscall(SYS_setgroups, user.groups.size(), user.groups.data()) == 0 &&
         ::syscall(SYS_setresgid, user.gid, user.gid, user.gid) == 0 &&
         ::syscall(SYS_setresuid, user.uid, user.uid, user.uid) == 0;
}

void attach_stdio(const ProcessPlan& plan, const ChildEnds& ends) {
  for (std::size_t i = 0; i < 3; ++i) ::dup2(ends.fds[plan.tty ? 0 : i].get(), static_cast<int>(i));
  if (plan.tty && ::ioctl(0, TIOCSCTTY, 0) != 0) fail(ends, StartStage::kTerminal, errno);
}

[[noreturn]] void run_program(const ProcessPlan& plan, const ChildEnds& ends) {
  attach_stdio(plan, ends);
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = std::min(descriptors.rlim_max, kSoftDescriptors);
  if (::setrlimit(RLIMIT_NOFILE, &descriptors) != 0) fail(ends, StartStage::kLimits, errno);
  if (!become(plan.user)) fail(ends, StartStage::kUser, errno);
  ::umask(022);
  if (::chdir(plan.working_dir.c_str()) != 0) fail(ends, StartStage::kWorkingDir, errno);
  fail(ends, StartStage::kExec, exec_in_path(plan));
}

// Nothing is executed, so close-on-exec does not help: a child that kept its own pipe ends would
// never see their end.
void close_all_but(std::vector<int> keep) {
  std::sort(keep.begin(), keep.end());
  unsigned from = 3;
  for (const int fd : keep) {
    const auto number = static_cast<unsigned>(fd);
    if (fd < 3) continue;
    if (number > from) ::close_range(from, number - 1, 0);
    from = number + 1;
  }
  ::close_range(from, ~0U, 0);
}

[[noreturn]] void run_builtin(const ProcessPlan& plan, const ChildEnds& ends) {
  attach_stdio(plan, ends);
  close_all_but(plan.keep_fds);
  ::umask(022);
  ::_exit(plan.builtin());
}

Result<> open_pipes(const ProcessPlan& plan, Process& ours, ChildEnds& theirs) {
  std::array<sys::UniqueFd*, 3> host = {&ours.in, &ours.out, &ours.err};
  for (std::size_t i = 0; i < 3; ++i) {
    sys::Pipe pipe = MVM_TRY(sys::make_pipe());
    theirs.fds[i] = std::move(i == 0 ? pipe.read_end : pipe.write_end);
    *host[i] = std::move(i == 0 ? pipe.write_end : pipe.read_end);
    MVM_TRY(sys::set_nonblocking(host[i]->get(), true));
    // Fewer changes between agent and process when much is moved; pages come when they are used.
    (void)::fcntl(host[i]->get(), F_SETPIPE_SZ, kPipeSize);
    // So that the user can open /dev/stdin and friends again.
    if (plan.user.uid != 0) [[maybe_unused]]
      const int ignored = ::fchown(theirs.fds[i].get(), plan.user.uid, plan.user.gid);
  }
  return {};
}

Result<> open_terminal(const ProcessPlan& plan, Process& ours, ChildEnds& theirs) {
  sys::UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!master || ::unlockpt(master.get()) != 0)
    return Error::from_errno("open a terminal (/dev/ptmx)");
  // Opens the other end without its path, which the workload may have hidden. Source: ioctl_tty(2).
  theirs.fds[0].reset(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!theirs.fds[0]) return Error::from_errno("open a terminal");
  const winsize size{plan.rows, plan.columns, 0, 0};
  if (::ioctl(master.get(), TIOCSWINSZ, &size) != 0)
    return Error::from_errno("set the terminal's size");
  if (plan.user.uid != 0) [[maybe_unused]]
    const int ignored = ::fchown(theirs.fds[0].get(), plan.user.uid, plan.user.gid);
  MVM_TRY(sys::set_nonblocking(master.get(), true));
  // Two descriptors, because input and output are watched on their own.
  ours.in = MVM_TRY(sys::duplicate(master.get()));
  ours.out = std::move(master);
  return {};
}

}  // namespace

std::string describe(const StartFailure& failure, const ProcessPlan& plan) {
  const std::string reason = std::string(": ") + ::strerror(failure.errnum);
  switch (failure.stage) {
    case StartStage::kTerminal:
      return "take the terminal" + reason;
    case StartStage::kLimits:
      return "set the descriptor limit" + reason;
    case StartStage::kUser:
      return "become user " + std::to_string(plan.user.uid) + reason;
    case StartStage::kWorkingDir:
      return "working directory " + plan.working_dir + reason;
    case StartStage::kExec:
      break;
  }
  std::string what = "exec " + plan.argv[0];
  // The kernel says ENOENT for a missing interpreter too, which sends people looking for the wrong
  // file.
  if (failure.errnum == ENOENT && plan.argv[0].starts_with('/') &&
      ::access(plan.argv[0].c_str(), F_OK) == 0)
    return what + ": its interpreter or dynamic loader is not in the image";
  return what + reason;
}

Result<Process> start_process(const ProcessPlan& plan) {
  Process ours;
  ChildEnds theirs;
  if (plan.tty) {
    MVM_TRY(open_terminal(plan, ours, theirs));
  } else {
    MVM_TRY(open_pipes(plan, ours, theirs));
  }
  if (!plan.builtin) {
    sys::Pipe status = MVM_TRY(sys::make_pipe());
    ours.status = std::move(status.read_end);
    theirs.status = std::move(status.write_end);
    MVM_TRY(sys::set_nonblocking(ours.status.get(), true));
  }
  const pid_t pid = fork_into(plan.cgroup_fd);
  if (pid < 0) return Error::from_errno("start a process");
  if (pid == 0) {
    reset_signals();
    ::setsid();
    if (plan.builtin) run_builtin(plan, theirs);
    run_program(plan, theirs);
  }
  ours.pid = pid;
  return ours;
}

}  // namespace mvm::agent
