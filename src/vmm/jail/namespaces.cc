// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/namespaces.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/log.h"
#include "sys/io.h"

namespace mvm::vmm {
namespace {

Error missing(Error error) {
  if (error.errnum() == EPERM || error.errnum() == EINVAL || error.errnum() == ENOSPC ||
      error.errnum() == ENOSYS)
    return std::move(error).with_code(Errc::kUnavailable);
  return error;
}

Result<> write_map(const char* file, unsigned inside, unsigned outside) {
  return sys::write_file(std::string("/proc/self/") + file,
                         std::to_string(inside) + " " + std::to_string(outside) + " 1\n");
}

// Ends as the child did, so that whoever started us cannot tell the difference.
[[noreturn]] void end_as(int status) {
  if (!WIFSIGNALED(status)) ::_exit(WEXITSTATUS(status));
  ::prctl(PR_SET_DUMPABLE, 0);  // the child has left the core, if any
  ::signal(WTERMSIG(status), SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::raise(WTERMSIG(status));
  ::_exit(128 + WTERMSIG(status));
}

constexpr int kSignalled = 128;

// The first process of a namespace does not get signals that it has no handler for, not even those
// that would end any other. A handler or a signalfd that the program sets later takes precedence.
void die_of_signals() {
  struct sigaction action{};
  action.sa_handler = [](int signal) { ::_exit(kSignalled + signal); };
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    struct sigaction before{};
    ::sigaction(signal, nullptr, &before);
    if (before.sa_handler == SIG_DFL) ::sigaction(signal, &action, nullptr);
  }
}

// All signals are blocked. Those of the kernel, such as the terminal's, reach the child by
// themselves.
[[noreturn]] void guard(pid_t child, const sigset_t& signals, int alive) {
  ::dup2(alive, 3);
  ::close_range(4, ~0U, 0);
  int passed_on = 0;
  for (;;) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      // Its way to die of a signal, see die_of_signals().
      const bool obeyed =
          passed_on != 0 && WIFEXITED(status) && WEXITSTATUS(status) == kSignalled + passed_on;
      end_as(obeyed ? W_EXITCODE(0, passed_on) : status);
    }
    siginfo_t info;
    const int signal = ::sigwaitinfo(&signals, &info);
    if (signal <= 0 || signal == SIGCHLD || info.si_code > 0) continue;
    if (signal == SIGUSR1) {
      ::kill(child, SIGKILL);
      continue;
    }
    passed_on = signal;
    ::kill(child, signal);
  }
}

[[noreturn]] void leave(pid_t child, const std::string& pid_file) {
  if (pid_file.empty()) ::_exit(0);
  const auto file =
      sys::open_file(pid_file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_NONBLOCK, 0644);
  const Result<> written =
      file ? sys::write_full(file->get(), std::to_string(child)) : Result<>(file.error());
  if (written) ::_exit(0);
  // Nobody could end a jail whose pid nobody knows.
  log::error("pid file: " + written.error().text());
  ::kill(child, SIGKILL);
  ::_exit(1);
}

}  // namespace

Result<> enter_user_namespace(uid_t uid, gid_t gid) {
  const uid_t outer_uid = ::geteuid();
  const gid_t outer_gid = ::getegid();
  MVM_TRY(unshare_namespace(CLONE_NEWUSER));
  // Groups may not be given up any more: who could leave one might gain by it (user_namespaces(7)).
  const auto mapped = [&]() -> Result<> {
    MVM_TRY(sys::write_file("/proc/self/setgroups", "deny"));
    MVM_TRY(write_map("uid_map", uid, outer_uid));
    return write_map("gid_map", gid, outer_gid);
  };
  auto done = mapped();
  if (done) return {};
  return std::move(done.error()).with_code(Errc::kUnavailable);
}

Result<> unshare_namespace(int kind) {
  if (::unshare(kind) != 0) return missing(Error::from_errno("unshare"));
  return {};
}

Result<> join_net_namespace(const std::string& path) {
  const sys::UniqueFd fd = MVM_TRY(sys::open_file(path, O_RDONLY));
  if (::setns(fd.get(), CLONE_NEWNET) != 0) return missing(Error::from_errno("setns " + path));
  return {};
}

namespace {

Result<> die_with_parent(const sys::UniqueFd& alive) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return Error::from_errno("PR_SET_PDEATHSIG");
  pollfd hung_up{alive.get(), POLLIN, 0};
  if (::poll(&hung_up, 1, 0) != 0) ::_exit(127);  // it died before prctl
  return {};
}

}  // namespace

Result<> fork_into_jail(const FinalFork& options) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  sys::Pipe alive = MVM_TRY(sys::make_pipe());
  ::sigprocmask(SIG_SETMASK, &all, &before);
  // Now, not later: it would take back a SIGCHLD that waits.
  ::signal(SIGCHLD, SIG_DFL);
  const pid_t child = ::fork();
  if (child > 0 && options.parent == JailParent::kLeaves) leave(child, options.pid_file);
  if (child > 0) guard(child, all, alive.write_end.get());
  const int errnum = errno;
  if (child == 0 && options.parent == JailParent::kGuards) die_of_signals();
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) return Error::from_errno("fork", errnum);
  alive.write_end.reset();
  if (options.new_session && ::setsid() < 0) return Error::from_errno("setsid");
  return options.parent == JailParent::kGuards ? die_with_parent(alive.read_end) : Result<>();
}

}  // namespace mvm::vmm
