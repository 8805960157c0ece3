// SPDX-License-Identifier: Apache-2.0
// The command line of mvm-vmm: Firecracker's, as far as it has a meaning here, and --jail.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/result.h"
#include "vmm/config/observe_config.h"
#include "vmm/jail/jail_options.h"

namespace mvm::vmm {

struct Options {
  std::string id = "anonymous-instance";
  std::string api_sock = "/run/mvm-vmm.socket";
  bool no_api = false;
  std::optional<std::string> config_file;
  std::optional<std::string> metadata;  // file with the first content of the metadata service
  std::optional<std::string> log_path;
  LogLevel log_level = LogLevel::kInfo;
  bool show_level = false;
  bool show_log_origin = false;
  bool boot_timer = false;
  std::optional<std::uint64_t> start_time_us;      // of the parent's start of us, monotonic
  std::optional<std::uint64_t> start_time_cpu_us;  // CPU time of the process then
  std::optional<std::uint64_t> parent_cpu_time_us;
  std::size_t max_payload = 51200;             // of an API request's body
  std::optional<std::size_t> mmds_size_limit;  // nothing: max_payload
  std::optional<std::string> metrics_path;
  bool no_seccomp = false;
  std::optional<std::string> seccomp_filter;
  bool jail = false;
  JailOptions jail_options;
};

// What to do: run with options, or print a text and end with a code.
struct ParsedOptions {
  std::optional<Options> options;
  std::string text;
  int exit_code = 0;
};

ParsedOptions parse_options(int argc, const char* const* argv);

}  // namespace mvm::vmm
