// SPDX-License-Identifier: Apache-2.0
#include "sys/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "sys/io.h"

extern char** environ;

namespace mvm::sys {
namespace {

int pidfd_open(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

// Everything the child needs, prepared before fork: after it only async-signal-safe calls are made.
struct ChildPlan {
  const Command& command;
  std::string program;
  std::vector<char*> argv;
  std::vector<char*> env;
  int error_pipe;
  pid_t parent;
};

void reset_signals() {
  for (int s = 1; s < NSIG; ++s) ::signal(s, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Moves the wanted descriptors to their numbers. First copies all above the highest target, so that
// no target overwrites a source that is still needed.
bool place_fds(const std::vector<std::pair<int, int>>& fds, int& error_pipe) {
  int floor = 3;
  for (const auto& [from, to] : fds) floor = std::max(floor, to + 1);
  error_pipe = ::fcntl(error_pipe, F_DUPFD_CLOEXEC, floor);
  if (error_pipe < 0) return false;
  std::array<int, 64> moved;
  if (fds.size() > moved.size()) return false;
  for (std::size_t i = 0; i < fds.size(); ++i) {
    moved[i] = ::fcntl(fds[i].first, F_DUPFD_CLOEXEC, floor);
    if (moved[i] < 0) return false;
  }
  std::array<bool, 3> given{};
  for (std::size_t i = 0; i < fds.size(); ++i) {
    if (::dup2(moved[i], fds[i].second) < 0) return false;
    if (fds[i].second < 3) given[static_cast<std::size_t>(fds[i].second)] = true;
  }
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; ++fd) {
    if (!given[static_cast<std::size_t>(fd)] && ::dup2(null, fd) < 0) return false;
  }
  return true;
}

[[noreturn]] void child_fail(int error_pipe) {
  const int errnum = errno;
  [[maybe_unused]] const auto ignored = ::write(error_pipe, &errnum, sizeof errnum);
  ::_exit(127);
}

[[noreturn]] void child_main(ChildPlan& plan) {
  const Command& command = plan.command;
  if (command.default_signals) reset_signals();
  if (command.new_session && ::setsid() < 0) child_fail(plan.error_pipe);
  // Before PR_SET_PDEATHSIG: new privileges would take that back.
  for (const int fd : command.namespaces) {
    if (::setns(fd, 0) != 0) child_fail(plan.error_pipe);
  }
  if (command.die_with_parent || command.contain) {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) child_fail(plan.error_pipe);
    if (::getppid() != plan.parent) ::_exit(127);  // the parent died before prctl
  }
  if (!command.working_dir.empty() && ::chdir(command.working_dir.c_str()) != 0)
    child_fail(plan.error_pipe);
  // What we have inherited without close-on-exec is not ours to pass on: a pipe that a machine
  // keeps open hangs its reader.
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  if (!place_fds(command.fds, plan.error_pipe)) child_fail(plan.error_pipe);
  ::execve(plan.program.c_str(), plan.argv.data(), plan.env.data());
  child_fail(plan.error_pipe);
}

// Kills the direct children; theirs come to us, a subreaper, and are next. Source: proc(5),
// /proc/PID/task/TID/children.
void kill_children(pid_t known) {
  std::array<char, 4096> text;
  const int fd = ::open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
  const ssize_t n = fd < 0 ? -1 : ::read(fd, text.data(), text.size());
  if (fd >= 0) ::close(fd);
  if (n < 0) {
    ::kill(known, SIGKILL);
    return;
  }
  pid_t pid = 0;
  for (ssize_t i = 0; i < n; ++i) {
    const char c = text[static_cast<std::size_t>(i)];
    if (c >= '0' && c <= '9') {
      pid = pid * 10 + (c - '0');
    } else if (pid > 0) {
      ::kill(pid, SIGKILL);
      pid = 0;
    }
  }
}

void end_all(pid_t known) {
  do kill_children(known);
  while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR);
}

[[noreturn]] void end_as(int status) {
  if (WIFSIGNALED(status)) {
    // The program has left the core, if any.
    ::prctl(PR_SET_DUMPABLE, 0);
    ::signal(WTERMSIG(status), SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::raise(WTERMSIG(status));
  }
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 127);
}

// Between us and a contained program. SIGTERM, which also the parent's death sends, ends all.
[[noreturn]] void guard_main(ChildPlan& plan) {
  sigset_t awaited;
  sigemptyset(&awaited);
  for (const int s : {SIGTERM, SIGCHLD, SIGINT, SIGHUP, SIGQUIT}) sigaddset(&awaited, s);
  ::sigprocmask(SIG_SETMASK, &awaited, nullptr);
  ::signal(SIGCHLD, SIG_DFL);
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 || ::prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
    child_fail(plan.error_pipe);
  if (::getppid() != plan.parent) ::_exit(127);
  plan.parent = ::getpid();
  const pid_t program = ::fork();
  if (program < 0) child_fail(plan.error_pipe);
  if (program == 0) child_main(plan);
  ::close_range(0, ~0U, 0);
  for (;;) {
    siginfo_t info;
    const int got = ::sigwaitinfo(&awaited, &info);
    if (got == SIGTERM) {
      end_all(program);
      ::_exit(128 + SIGTERM);
    }
    if (got != SIGCHLD) continue;  // the terminal's signals are the program's
    int status = 0;
    pid_t ended = 0;
    while ((ended = ::waitpid(-1, &status, WNOHANG)) > 0) {
      if (ended != program) continue;
      end_all(program);
      end_as(status);
    }
  }
}

Result<> await_exec(int pipe_fd, const std::string& name) {
  int errnum = 0;
  const std::size_t n = MVM_TRY(read_full(pipe_fd, std::as_writable_bytes(std::span(&errnum, 1))));
  if (n == 0) return {};
  return Error::from_errno("exec " + name, errnum);
}

}  // namespace

std::string ExitStatus::text() const {
  return signal != 0 ? "signal " + std::to_string(signal) : "exit code " + std::to_string(code);
}

namespace {

bool is_program(const std::string& path) {
  struct stat st;
  return ::access(path.c_str(), X_OK) == 0 && ::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

}  // namespace

std::vector<std::string> environment_with(const std::vector<std::string>& changes) {
  std::vector<std::string> out;
  for (const std::string& change : changes) {
    if (!change.ends_with('=')) out.push_back(change);
  }
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view kept(*entry);
    const bool changed = std::any_of(changes.begin(), changes.end(), [&](const auto& change) {
      return kept.starts_with(std::string_view(change).substr(0, change.find('=') + 1));
    });
    if (!changed) out.emplace_back(kept);
  }
  return out;
}

std::optional<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    if (is_program(name)) return name;
    return std::nullopt;
  }
  const char* env = std::getenv("PATH");
  std::string path = env != nullptr ? env : "/usr/local/bin:/usr/bin:/bin";
  path += ":/usr/sbin:/sbin";
  std::size_t at = 0;
  while (at <= path.size()) {
    const std::size_t end = std::min(path.find(':', at), path.size());
    std::string candidate = path.substr(at, end - at) + "/" + name;
    if (end > at && is_program(candidate)) return candidate;
    at = end + 1;
  }
  return std::nullopt;
}

Result<Child> spawn(const Command& command) {
  const std::string name = command.argv.empty() ? "" : command.argv.front();
  const auto program = find_program(name);
  if (!program) return Error(Errc::kNotFound, "program '" + name + "' is not installed");
  Pipe pipe = MVM_TRY(make_pipe());
  ChildPlan plan{command, *program, pointers(command.argv), {}, pipe.write_end.get(), ::getpid()};
  if (command.environment) {
    plan.env = pointers(*command.environment);
  } else {
    for (char** e = environ; *e != nullptr; ++e) plan.env.push_back(*e);
    plan.env.push_back(nullptr);
  }
  const pid_t pid = ::fork();
  if (pid < 0) return Error::from_errno("fork");
  if (pid == 0 && command.contain) guard_main(plan);
  if (pid == 0) child_main(plan);
  pipe.write_end.reset();
  // Not yet reaped, so the pid cannot have been reused.
  UniqueFd pidfd(pidfd_open(pid));
  if (!pidfd) {
    const Error error = Error::from_errno("pidfd_open");
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return error;
  }
  Child child(pid, std::move(pidfd), command.contain ? SIGTERM : command.kill_signal);
  MVM_TRY(await_exec(pipe.read_end.get(), name));
  return child;
}

Child& Child::operator=(Child&& other) noexcept {
  if (this == &other) return *this;
  kill_and_reap();
  pid_ = std::exchange(other.pid_, -1);
  pidfd_ = std::move(other.pidfd_);
  kill_signal_ = other.kill_signal_;
  return *this;
}

Result<> Child::signal(int signum) const {
  if (pid_ <= 0) return Error(Errc::kNotFound, "process has ended");
  if (::kill(pid_, signum) != 0) return Error::from_errno("kill " + std::to_string(pid_));
  return {};
}

Result<ExitStatus> Child::wait(const Deadline& deadline) {
  if (pid_ <= 0) return Error(Errc::kNotFound, "process has ended");
  MVM_TRY(wait_readable(pidfd_.get(), deadline));
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) return Error::from_errno("waitpid");
  }
  detach();
  if (WIFSIGNALED(status)) return ExitStatus{0, WTERMSIG(status)};
  return ExitStatus{WEXITSTATUS(status), 0};
}

void Child::kill_and_reap() {
  if (pid_ <= 0) return;
  ::kill(pid_, kill_signal_);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  detach();
}

void Child::detach() {
  pid_ = -1;
  pidfd_.reset();
}

namespace {

constexpr std::size_t kErrTail = 65536;

// Pumps stdin, stdout and stderr of one child at once, so that none can block another.
class Pump {
 public:
  Pump(UniqueFd in, UniqueFd out, UniqueFd err, std::string_view input, Bytes limit)
      : in_(std::move(in)),
        out_(std::move(out)),
        err_(std::move(err)),
        input_(input),
        limit_(limit) {
    if (input_.empty()) in_.reset();
  }

  Result<> finish(const Deadline& deadline, Output& output) {
    while (out_ || err_ || in_) {
      std::array<pollfd, 3> fds{pollfd{out_.get(), POLLIN, 0}, pollfd{err_.get(), POLLIN, 0},
                                pollfd{in_.get(), POLLOUT, 0}};
      const int n = ::poll(fds.data(), fds.size(), deadline.poll_timeout());
      if (n == 0) return deadline.error();
      if (n < 0 && errno != EINTR) return Error::from_errno("poll");
      if (n < 0) continue;
      if (fds[0].revents != 0) MVM_TRY(take(out_, output.out));
      if (fds[1].revents != 0) MVM_TRY(take(err_, output.err));
      if (fds[2].revents != 0) feed();
      if (output.out.size() > limit_.count)
        return Error(Errc::kLimit, "output is larger than " + format_size(limit_));
      if (output.err.size() > 2 * kErrTail) output.err.erase(0, output.err.size() - kErrTail);
    }
    return {};
  }

 private:
  static Result<> take(UniqueFd& fd, std::string& into) {
    std::array<std::byte, 65536> chunk;
    const std::size_t n = MVM_TRY(read_some(fd.get(), chunk));
    if (n == 0) fd.reset();
    into.append(reinterpret_cast<const char*>(chunk.data()), n);
    return {};
  }

  // A child that does not read its input is no error of ours: its exit status tells.
  void feed() {
    const auto n = write_some(
        in_.get(),
        std::as_bytes(std::span(input_)).first(std::min<std::size_t>(input_.size(), 4096)));
    if (n) input_.remove_prefix(*n);
    if (!n || input_.empty()) in_.reset();
  }

  UniqueFd in_, out_, err_;
  std::string_view input_;
  Bytes limit_;
};

}  // namespace

Result<Output> run(Command command, std::string_view input, const Deadline& deadline,
                   Bytes out_limit) {
  Pipe in = MVM_TRY(make_pipe());
  Pipe out = MVM_TRY(make_pipe());
  Pipe err = MVM_TRY(make_pipe());
  command.fds.emplace_back(in.read_end.get(), 0);
  command.fds.emplace_back(out.write_end.get(), 1);
  command.fds.emplace_back(err.write_end.get(), 2);
  Child child = MVM_TRY(spawn(command));
  in.read_end.reset();
  out.write_end.reset();
  err.write_end.reset();
  Output output;
  Pump pump(std::move(in.write_end), std::move(out.read_end), std::move(err.read_end), input,
            out_limit);
  MVM_TRY_CTX(pump.finish(deadline, output), "running " + command.argv.front());
  output.status = MVM_TRY(child.wait(deadline));
  return output;
}

Result<std::string> run_checked(Command command, const Deadline& deadline) {
  const std::string name = command.argv.front();
  Output output = MVM_TRY(run(std::move(command), {}, deadline));
  if (output.status.ok()) return std::move(output.out);
  std::string_view tail = output.err;
  while (!tail.empty() && tail.back() == '\n') tail.remove_suffix(1);
  if (tail.size() > 2000) tail.remove_prefix(tail.size() - 2000);
  return Error(Errc::kIo, name + " ended with " + output.status.text() +
                              (tail.empty() ? "" : ": " + std::string(tail)));
}

Result<std::string> executable_dir() {
  std::array<char, 4096> path;
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size());
  if (n < 0) return Error::from_errno("readlink /proc/self/exe");
  const std::string_view whole(path.data(), static_cast<std::size_t>(n));
  return std::string(whole.substr(0, whole.find_last_of('/')));
}

Result<std::uint64_t> process_start_time(pid_t pid) {
  const std::string stat = MVM_TRY(read_file("/proc/" + std::to_string(pid) + "/stat"));
  // The second field is the name in parentheses and may hold anything, so count from the last ')'.
  std::size_t at = stat.find_last_of(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
  std::uint64_t ticks = 0;
  if (at != std::string::npos)
    std::from_chars(stat.data() + at + 1, stat.data() + stat.size(), ticks);
  if (ticks == 0)
    return Error(Errc::kCorrupt, "/proc/" + std::to_string(pid) + "/stat has no start time");
  return ticks;
}

}  // namespace mvm::sys
