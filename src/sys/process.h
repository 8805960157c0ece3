// SPDX-License-Identifier: Apache-2.0
// Child processes: a Command describes one, spawn() makes it, a Child owns it through a pidfd.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"
#include "core/units.h"
#include "sys/unique_fd.h"

namespace mvm::sys {

// How a process ended.
struct ExitStatus {
  int code = 0;    // exit code, when signal == 0
  int signal = 0;  // the signal that ended it, or 0
  bool ok() const { return code == 0 && signal == 0; }
  // The shell's convention: the code itself, or 128 + signal.
  int shell_code() const { return signal != 0 ? 128 + signal : code; }
  std::string text() const;  // "exit code 3", "signal 9"
};

// What to run. Everything that is not listed in `fds` is closed in the child.
struct Command {
  std::vector<std::string> argv;  // argv[0] is looked up in PATH when it has no slash
  std::optional<std::vector<std::string>> environment;  // "K=V"; nothing: the parent's
  std::string working_dir;                              // empty: the parent's
  // (descriptor of ours, number in the child); 0, 1, 2 not listed become /dev/null.
  std::vector<std::pair<int, int>> fds;
  // Namespaces to start in, each a descriptor of it, a user namespace before what it owns.
  std::vector<int> namespaces;
  bool new_session = false;      // setsid(): away from the terminal and its signals
  bool die_with_parent = false;  // SIGKILL when the spawning thread ends (PR_SET_PDEATHSIG)
  // For tools that start others: whatever of them still runs is killed when the program ends, or
  // when we do. The pid is then that of a guard between us and the program, which ends as it did.
  bool contain = false;
  // What ends it for good, in the place of SIGKILL: for a program that is the guard of another and
  // kills that one on this signal.
  int kill_signal = 9;
  bool default_signals = true;  // unblock and reset every signal
};

// Ours, with these "K=V" in the place of what it has under their names; "K=" alone leaves K out.
std::vector<std::string> environment_with(const std::vector<std::string>& changes);

// An owned child process. Destroying a Child that still runs kills and reaps it.
class Child {
 public:
  Child() = default;
  Child(pid_t pid, UniqueFd pidfd, int kill_signal = 9)
      : pid_(pid), pidfd_(std::move(pidfd)), kill_signal_(kill_signal) {}
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        pidfd_(std::move(other.pidfd_)),
        kill_signal_(other.kill_signal_) {}
  Child& operator=(Child&& other) noexcept;
  ~Child() { kill_and_reap(); }

  bool running() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  // Readable when the process has ended.
  int pidfd() const { return pidfd_.get(); }

  Result<> signal(int signum) const;
  // Waits for the end and reaps. Errors: the deadline's.
  Result<ExitStatus> wait(const Deadline& deadline = Deadline::none());
  // SIGKILL, to a program with a guard by that one. Errors: as of signal().
  Result<> kill() const { return signal(kill_signal_); }
  // kill(), then reap; does nothing when already reaped.
  void kill_and_reap();
  // Gives up ownership: the process goes on without us.
  void detach();

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  int kill_signal_ = 9;
};

// Starts a process. Errors: kNotFound "QEMU is not installed" style is the caller's; here "exec
// NAME: …", reported by the child before exec, so that a missing program is an error of spawn()
// itself.
Result<Child> spawn(const Command& command);

struct Output {
  ExitStatus status;
  std::string out;
  std::string err;  // the last 64 KiB
};

// Runs to the end and collects the output. `input` goes to its stdin. Errors: spawn's, kLimit, the
// deadline's.
Result<Output> run(Command command, std::string_view input = {},
                   const Deadline& deadline = Deadline::none(), Bytes out_limit = mebibytes(16));

// Runs to the end; anything but exit code 0 is an error that quotes the end of stderr.
Result<std::string> run_checked(Command command, const Deadline& deadline = Deadline::none());

// The path of a program in PATH (and in /usr/sbin, /sbin), if it is there and executable.
std::optional<std::string> find_program(const std::string& name);

// The directory of the running executable.
Result<std::string> executable_dir();

// Start time of a process in clock ticks since boot, which with its pid names it for good.
// Source: proc(5), field 22 of /proc/PID/stat. Errors: kNotFound.
Result<std::uint64_t> process_start_time(pid_t pid);

}  // namespace mvm::sys
