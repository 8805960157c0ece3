// SPDX-License-Identifier: Apache-2.0
// mvm-jailer: makes a jail, enters it and becomes the program that was named. docs/howto/jail.md
#include <unistd.h>

#include <cstdio>

#include "core/log.h"
#include "vmm/jail/jailer_program.h"

namespace {

using namespace mvm;

Result<> run(const vmm::JailerArguments& arguments) {
  const vmm::PreparedJail jail = MVM_TRY(vmm::prepare_jail(arguments));
  MVM_TRY(vmm::enter_jail(jail.config));
  std::vector<char*> argv;
  for (const std::string& word : jail.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  char* environment[] = {nullptr};
  ::execve(argv[0], argv.data(), environment);
  return Error::from_errno("executing " + jail.argv[0])
      .with_hint("in a jail there are no libraries: the program must be a static one");
}

}  // namespace

int main(int argc, char** argv) {
  log::init(2, log::Level::kInfo, "mvm-jailer: ");
  const vmm::ParsedJailer parsed = vmm::parse_jailer({argv + 1, argv + argc});
  if (!parsed.arguments) {
    std::fputs(parsed.text.c_str(), parsed.exit_code == 0 ? stdout : stderr);
    return parsed.exit_code;
  }
  const auto done = run(*parsed.arguments);
  log::error(done.error().text());
  if (!done.error().hint().empty()) log::error(done.error().hint());
  return 1;
}
