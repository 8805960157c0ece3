// SPDX-License-Identifier: Apache-2.0
// The guard of a jailed process, and what becomes of the pair. Instantiated in jailer_test.cc.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "vmm/jail/testing_jail.h"

namespace mvm::vmm {
namespace {

TEST_P(Jail, TheParentEndsAsTheJailedProcessDid) {
  EXPECT_EQ(jailed(config(), [](int) { return 7; }).status.code, 7);
  const ChildEnd crashed = jailed(config(), [](int) {
    __builtin_trap();
    return 0;
  });
  EXPECT_EQ(crashed.status.signal, SIGILL);
}

TEST_P(Jail, NoticesAChildThatEndsBeforeItIsWatched) {
  for (int i = 0; i < 20; ++i) EXPECT_EQ(jailed(config(), [](int) { return 7; }).status.code, 7);
}

// What a test holds of a jail that runs: its parent, and a pipe that ends when the jailed one does.
struct Running {
  pid_t parent = -1;
  sys::UniqueFd output;

  // The first byte comes when the jail is closed.
  bool entered() {
    std::byte one;
    return sys::read_full(output.get(), std::span(&one, 1)).value_or(0) == 1;
  }
  sys::ExitStatus wait() const {
    int status = 0;
    ::waitpid(parent, &status, 0);
    return WIFSIGNALED(status) ? sys::ExitStatus{0, WTERMSIG(status)}
                               : sys::ExitStatus{WEXITSTATUS(status), 0};
  }
};

// A jailed process that waits for SIGTERM and then ends with code 5; or, if it does not care, of
// it.
Running start_waiting(const JailConfig& config, bool nobody, bool cares = true) {
  sys::Pipe pipe = sys::make_pipe().value();
  const pid_t pid = ::fork();
  if (pid == 0) {
    drop_to_nobody(nobody);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    JailConfig kept = config;
    kept.keep_descriptors.push_back(pipe.write_end.get());
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    if (cares) ::sigprocmask(SIG_BLOCK, &term, nullptr);
    if (!enter_jail(kept)) ::_exit(99);
    say(pipe.write_end.get(), "!");
    siginfo_t info;
    if (!cares) ::pause();
    ::sigwaitinfo(&term, &info);
    ::_exit(5);
  }
  return {pid, std::move(pipe.read_end)};
}

TEST_P(Jail, PassesSignalsOnToTheJailedProcess) {
  Running running = start_waiting(config(), drops());
  ASSERT_TRUE(running.entered());
  ::kill(running.parent, SIGTERM);
  EXPECT_EQ(running.wait().code, 5);
}

TEST_P(Jail, DiesOfASignalThatItDoesNotHandle) {
  Running jail = start_waiting(config(), drops(), false);
  ASSERT_TRUE(jail.entered());
  ::kill(jail.parent, SIGTERM);
  EXPECT_EQ(jail.wait().signal, SIGTERM);
}

TEST_P(Jail, EndsTheJailedProcessWhateverItHandlesOnTheSignalForThat) {
  Running running = start_waiting(config(), drops());
  ASSERT_TRUE(running.entered());
  ::kill(running.parent, SIGUSR1);
  EXPECT_EQ(running.wait().signal, SIGKILL);
}

TEST_P(Jail, StillDiesWithItsStarterWhereThatWasWished) {
  sys::Pipe alive = sys::make_pipe().value();
  const pid_t starter = ::fork();
  if (starter == 0) {
    alive.read_end.reset();
    JailConfig kept = config();
    kept.keep_descriptors.push_back(alive.write_end.get());
    ::_exit(start_waiting(kept, drops()).entered() ? 5 : 99);
  }
  alive.write_end.reset();
  EXPECT_EQ(Running(starter, {}).wait().code, 5);
  EXPECT_EQ(sys::read_fd(alive.read_end.get()).value(), "");  // the end of the last writer
}

TEST_P(Jail, TheJailedProcessDiesWithItsParent) {
  Running running = start_waiting(config(), drops());
  ASSERT_TRUE(running.entered());
  ::kill(running.parent, SIGKILL);
  EXPECT_EQ(running.wait().signal, SIGKILL);
  EXPECT_EQ(sys::read_fd(running.output.get()).value(), "");  // the end of the last writer
}

}  // namespace
}  // namespace mvm::vmm
