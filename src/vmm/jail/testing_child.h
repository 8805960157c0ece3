// SPDX-License-Identifier: Apache-2.0
// For tests of confinement: code that runs in a child process, since nobody comes back from a jail.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "sys/io.h"
#include "sys/process.h"

namespace mvm::vmm {

// How a child that ran `body` ended, and what it wrote to the descriptor that it was given.
struct ChildEnd {
  sys::ExitStatus status;
  std::string said;
};

// `body(fd)` returns the exit code.
template <class Body>
ChildEnd in_child(Body body) {
  sys::Pipe pipe = sys::make_pipe().value();
  const pid_t pid = ::fork();
  if (pid == 0) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    pipe.read_end.reset();
    ::_exit(body(pipe.write_end.get()));
  }
  pipe.write_end.reset();
  ChildEnd out;
  if (auto said = sys::read_fd(pipe.read_end.get())) out.said = *said;
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) out.status.signal = WTERMSIG(status);
  if (WIFEXITED(status)) out.status.code = WEXITSTATUS(status);
  return out;
}

}  // namespace mvm::vmm
