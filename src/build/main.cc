// SPDX-License-Identifier: Apache-2.0
// mvm-build: does one build. Started by mvmctl on this host, or by the agent in the builder's
// guest.
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <string_view>
#include <vector>

#include "build/execute.h"
#include "build/job.h"
#include "build/sandbox.h"
#include "image/assemble.h"
#include "sys/io.h"

namespace mvm::build {
namespace {

void say(const std::string& line) {
  // Whoever listened is gone: so is the reason to build.
  if (!sys::write_full(STDOUT_FILENO, line)) ::_exit(1);
}

int build(const std::string& file) {
  const auto run = [&]() -> Result<Built> {
    const Job job = MVM_TRY(job_from_json(MVM_TRY(sys::read_file(file))));
    const Shop shop{job, [](const Event& event) { say(to_line(event)); }};
    return execute(shop);
  };
  const Result<Built> built = run();
  say(built ? to_line(*built) : to_line(built.error()));
  return built ? 0 : 1;
}

}  // namespace
}  // namespace mvm::build

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty() && arguments[0] == mvm::build::kSandboxVerb)
    return mvm::build::sandbox_main({arguments.begin() + 1, arguments.end()});
  if (arguments.size() == 2 && arguments[0] == mvm::image::kAssembleVerb)
    return mvm::image::assemble_main(arguments[1]);
  if (arguments.size() != 1) {
    (void)mvm::sys::write_full(STDERR_FILENO, std::string("usage: mvm-build JOBFILE\n"));
    return 64;
  }
  return mvm::build::build(arguments[0]);
}
