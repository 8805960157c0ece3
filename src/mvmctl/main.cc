// SPDX-License-Identifier: Apache-2.0
// mvmctl.
#include <signal.h>
#include <unistd.h>

#include "cli/dispatch.h"
#include "mvmctl/verbs.h"

int main(int argc, char** argv) {
  // A reader of ours that goes away is an error to be handled: machines must be removed first.
  ::signal(SIGPIPE, SIG_IGN);
  const std::vector<std::string> args(argv + (argc > 0 ? 1 : 0), argv + argc);
  mvm::cli::Context context(mvm::cli::verbs(), STDOUT_FILENO, STDERR_FILENO);
  return mvm::cli::dispatch(context, args);
}
