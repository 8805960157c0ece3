// SPDX-License-Identifier: Apache-2.0
// mvm-jailer: the arguments of Firecracker's jailer, its directories, and what it executes.
//
//   BASE/NAME/ID/root/        the jail's root; NAME is the program's file name
//   BASE/NAME/ID/root/NAME    a copy of the program, so that no two jails share its memory
//   BASE/NAME/ID/root/run/    belongs to the jailed user, for sockets
//
// Source: Firecracker's documentation of its jailer, 1.x.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "vmm/jail/jail_options.h"
#include "vmm/jail/jailer.h"

namespace mvm::vmm {

struct JailerArguments {
  std::string id;
  std::string exec_file;
  std::string chroot_base = "/srv/jailer";
  // `files` stays empty; `net` is "host" unless a namespace is named.
  JailOptions jail;
  bool daemonize = false;
  bool new_pid_ns = false;
  std::vector<std::string> extra;  // what stands after "--"
};

// What to do: run, or print a text and end with a code.
struct ParsedJailer {
  std::optional<JailerArguments> arguments;
  std::string text;
  int exit_code = 0;
};

ParsedJailer parse_jailer(const std::vector<std::string>& words);

struct PreparedJail {
  JailConfig config;
  std::vector<std::string> argv;  // argv[0] is the program's path inside
};

// Makes the directories and the copy. Errors: kNotFound: no such program; those of the files.
Result<PreparedJail> prepare_jail(const JailerArguments& arguments);

}  // namespace mvm::vmm
