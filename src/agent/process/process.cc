// SPDX-License-Identifier: Apache-2.0
#include "agent/process/process.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <optional>

#include "agent/process/vfork.h"
#include "sys/io.h"

namespace mvm::agent {
namespace {

// The agent's own limit is high. The soft limit of programs is the kernel's default: programs that
// close every possible descriptor would take seconds with a million; programs that need more raise
// it, up to the agent's.
constexpr rlim_t kSoftDescriptors = 1024;
constexpr int kExitNotStarted = 127;

// The child's side of the channels: 0, 1 and 2; with a TTY only [0], the slave.
using ChildEnds = std::array<sys::UniqueFd, 3>;

// A raw array of pointers to the strings, ended by a null pointer.
std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

// Where execvp(3) would look for `name`. Empty for an empty name.
std::vector<std::string> candidates(const std::string& name, const std::vector<std::string>& env) {
  if (name.empty() || name.find('/') != std::string::npos) return {name};
  std::string_view path;
  for (const std::string& entry : env) {
    if (entry.starts_with("PATH=")) path = std::string_view(entry).substr(5);
  }
  std::vector<std::string> out;
  while (true) {
    const std::size_t colon = path.find(':');
    const std::string dir(path.substr(0, colon));
    out.push_back((dir.empty() ? "." : dir) + "/" + name);
    if (colon == std::string_view::npos) return out;
    path.remove_prefix(colon + 1);
  }
}

// Everything the child needs, made before it exists: it runs in our memory while we wait for its
// exec, so what it allocates would stay with us.
struct Launch {
  Launch(const ProcessPlan& p, const ChildEnds& e) : plan(p), ends(e) {}

  const ProcessPlan& plan;
  const ChildEnds& ends;
  std::vector<std::string> programs = candidates(plan.argv[0], plan.env);
  std::vector<char*> argv = pointers(plan.argv);
  std::vector<char*> env = pointers(plan.env);
  // A script without "#!" is the shell's: "/bin/sh", the script, its arguments.
  std::string shell = "/bin/sh";
  std::vector<char*> shell_argv = with_shell();
  std::optional<StartFailure> failure;

  std::vector<char*> with_shell() {
    std::vector<char*> out = argv;
    out.insert(out.begin(), shell.data());
    return out;
  }
};

// The agent ignores SIGPIPE and blocks some; it handles none. Setting all 64 would be as many
// system calls.
void reset_signals() {
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

int try_exec(Launch& launch, std::string& path) {
  ::execve(path.c_str(), launch.argv.data(), launch.env.data());
  if (errno != ENOEXEC) return errno;
  launch.shell_argv[1] = path.data();
  ::execve(launch.shell.c_str(), launch.shell_argv.data(), launch.env.data());
  return ENOEXEC;
}

// Source: execvp(3) for which error wins. Returns the errno.
int exec_program(Launch& launch) {
  int result = ENOENT;
  for (std::string& path : launch.programs) {
    const int errnum = try_exec(launch, path);
    if (errnum == EACCES) result = EACCES;
    if (errnum != EACCES && errnum != ENOENT && errnum != ENOTDIR) return errnum;
  }
  return result;
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

bool attach_stdio(const ProcessPlan& plan, const ChildEnds& ends) {
  for (std::size_t i = 0; i < 3; ++i) ::dup2(ends[plan.tty ? 0 : i].get(), static_cast<int>(i));
  return !plan.tty || ::ioctl(0, TIOCSCTTY, 0) == 0;
}

bool limit_descriptors() {
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = std::min(descriptors.rlim_max, kSoftDescriptors);
  return ::setrlimit(RLIMIT_NOFILE, &descriptors) == 0;
}

// The first step that fails, with its errno; returns only then. Allocates nothing.
StartFailure run_program(Launch& launch) {
  const ProcessPlan& plan = launch.plan;
  reset_signals();
  ::setsid();
  if (!attach_stdio(plan, launch.ends)) return {StartStage::kTerminal, errno};
  if (!limit_descriptors()) return {StartStage::kLimits, errno};
  if (!become(plan.user)) return {StartStage::kUser, errno};
  ::umask(022);
  if (::chdir(plan.working_dir.c_str()) != 0) return {StartStage::kWorkingDir, errno};
  return {StartStage::kExec, exec_program(launch)};
}

int launch_child(void* data) {
  Launch& launch = *static_cast<Launch*>(data);
  launch.failure = run_program(launch);
  return kExitNotStarted;
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
  reset_signals();
  ::setsid();
  attach_stdio(plan, ends);
  close_all_but(plan.keep_fds);
  ::umask(022);
  ::_exit(plan.builtin());
}

Result<> open_pipes(const ProcessPlan& plan, Process& ours, ChildEnds& theirs) {
  std::array<sys::UniqueFd*, 3> host = {&ours.in, &ours.out, &ours.err};
  for (std::size_t i = 0; i < 3; ++i) {
    sys::Pipe pipe = MVM_TRY(sys::make_pipe());
    theirs[i] = std::move(i == 0 ? pipe.read_end : pipe.write_end);
    *host[i] = std::move(i == 0 ? pipe.write_end : pipe.read_end);
    MVM_TRY(sys::set_nonblocking(host[i]->get(), true));
    // So that the user can open /dev/stdin and friends again.
    if (plan.user.uid != 0) [[maybe_unused]]
      const int ignored = ::fchown(theirs[i].get(), plan.user.uid, plan.user.gid);
  }
  return {};
}

Result<> open_terminal(const ProcessPlan& plan, Process& ours, ChildEnds& theirs) {
  sys::UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!master || ::unlockpt(master.get()) != 0)
    return Error::from_errno("open a terminal (/dev/ptmx)");
  // Opens the other end without its path, which the workload may have hidden. Source: ioctl_tty(2).
  theirs[0].reset(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!theirs[0]) return Error::from_errno("open a terminal");
  const winsize size{plan.rows, plan.columns, 0, 0};
  if (::ioctl(master.get(), TIOCSWINSZ, &size) != 0)
    return Error::from_errno("set the terminal's size");
  if (plan.user.uid != 0) [[maybe_unused]]
    const int ignored = ::fchown(theirs[0].get(), plan.user.uid, plan.user.gid);
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
  ours.pid = plan.builtin ? ::fork() : 0;
  if (plan.builtin && ours.pid == 0) run_builtin(plan, theirs);
  if (!plan.builtin) {
    Launch launch(plan, theirs);
    ours.pid = vfork_into(plan.cgroup_fd, launch_child, &launch);
    ours.failure = launch.failure;
  }
  if (ours.pid < 0) return Error::from_errno("start a process");
  return ours;
}

}  // namespace mvm::agent
