// SPDX-License-Identifier: Apache-2.0
// Verbs with every kind of option, and a terminal that remembers: shared by the tests of this
// folder.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "sys/unique_fd.h"

namespace mvm::cli {

// What the last parsed `demo` got.
struct DemoOptions {
  std::vector<std::string> env;
  Bytes memory = mebibytes(512);
  std::optional<Bytes> disk;
  Millis timeout{10'000};
  std::optional<Millis> ttl;
  std::uint32_t cpus = 1;
  std::optional<std::uint32_t> pids;
  std::string network = "user";
  std::optional<std::string> name;
  bool interactive = false;
  bool tty = false;
  std::string image;
  std::vector<std::string> command;
};

// demo [IMAGE] [-- COMMAND]
CommandSpec make_demo(DemoOptions& options);
// demo (alias show), cp FROM... TO, image pull|ls, fail, version, help, completion
std::span<const VerbEntry> demo_verbs();

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};
// What dispatch() makes of a command line.
Outcome call(const std::vector<std::string>& args);

// The golden file tests/golden/cli/NAME, after writing `text` into it when MVM_ACCEPT=1.
std::string golden(const std::string& name, const std::string& text);

// A file in memory and what has been written into it.
sys::UniqueFd recorder();
std::string recorded(const sys::UniqueFd& fd);

}  // namespace mvm::cli
