// SPDX-License-Identifier: Apache-2.0
#include "vmm/options.h"

#include <span>

#include "core/arguments.h"
#include "vmm/config/vm_config.h"

namespace mvm::vmm {
namespace {

// Source: Firecracker's exit codes.
constexpr int kBadArguments = 153;

void add_options(Arguments& out, Options& to, std::string& level) {
  out.add("--id", &to.id, "Name of the microVM: letters, digits and hyphens");
  out.add("--api-sock", &to.api_sock, "Path of the API's unix socket");
  out.add("--no-api", &to.no_api, "No API: the machine is what --config-file says");
  out.add("--config-file", &to.config_file, "JSON file with the whole machine; boots it");
  out.add("--metadata", &to.metadata, "JSON file with the first content of the metadata service");
  out.add("--log-path", &to.log_path, "File or pipe for the log; stderr if not given");
  out.add("--level", &level, "Least level of the log: Off, Error, Warn, Info, Debug, Trace");
  out.add("--show-level", &to.show_level, "Write the level into the log");
  out.add("--show-log-origin", &to.show_log_origin, "Accepted; the log names no files");
  out.add("--metrics-path", &to.metrics_path, "File or pipe for the metrics");
  out.add("--boot-timer", &to.boot_timer, "Log the time when the guest says that it has booted");
  out.add("--start-time-us", &to.start_time_us, "Monotonic time of the start of this process");
  out.add("--start-time-cpu-us", &to.start_time_cpu_us, "CPU time of this process at its start");
  out.add("--parent-cpu-time-us", &to.parent_cpu_time_us,
          "CPU time of the process that started this one");
  out.add("--http-api-max-payload-size", &to.max_payload,
          "Largest body of an API request, in bytes");
  out.add("--mmds-size-limit", &to.mmds_size_limit,
          "Largest content of the metadata service, in bytes");
  out.add("--no-seccomp", &to.no_seccomp, "No system call filter: for debugging only");
  out.add("--seccomp-filter", &to.seccomp_filter, "JSON file with the system call filters to use");
}

void add_jail_options(Arguments& out, Options& to) {
  JailOptions& jail = to.jail_options;
  out.add("--jail", &to.jail, "Enter a jail first: namespaces, and the named files only");
  out.add("--jail-file", &jail.files, "PATH[:INSIDE][:rw]: a file or directory that it shows");
  out.add("--jail-fd", &jail.descriptors, "An open descriptor to keep, as a network's socket_fd");
  out.add("--jail-dir", &jail.working_dir,
          "Current directory inside, which relative paths begin at");
  out.add("--jail-uid", &jail.uid, "User to become; needed as root");
  out.add("--jail-gid", &jail.gid, "Group to become; needed as root");
  out.add("--jail-net", &jail.net, "new, host, or the path of a network namespace");
  out.add("--jail-optional", &jail.optional, "A layer that may be missing on this host");
  out.add("--jail-limit", &jail.limits, "fsize=BYTES or no-file=COUNT");
  out.add("--jail-cgroup", &jail.cgroups, "FILE=VALUE of a control group");
  out.add("--jail-cgroup-version", &jail.cgroup_version, "1 or 2");
  out.add("--jail-parent-cgroup", &jail.parent_cgroup, "Where the control group is made");
}

ParsedOptions refuse(const std::string& message) {
  return {std::nullopt, "mvm-vmm: " + message + "\nsee mvm-vmm --help\n", kBadArguments};
}

// What must go together, or may not.
std::string conflict(const Arguments& arguments, const Options& options) {
  if (options.no_api && !options.config_file) return "--no-api needs --config-file";
  if (options.no_seccomp && options.seccomp_filter)
    return "--seccomp-filter and --no-seccomp exclude each other";
  const auto part = arguments.first_given("--jail-");
  if (part && !options.jail) return std::string(*part) + " needs --jail";
  return "";
}

}  // namespace

ParsedOptions parse_options(int argc, const char* const* argv) {
  Options out;
  std::string level;
  bool help = false;
  bool version = false;
  Arguments arguments("mvm-vmm: a KVM microVM monitor with Firecracker's API");
  add_options(arguments, out, level);
  add_jail_options(arguments, out);
  arguments.add("--version", &version, "Print the version");
  arguments.add("--help", &help, "Print this text");
  const std::span words(argv, static_cast<std::size_t>(argc));
  if (auto parsed = arguments.parse(words.subspan(1)); !parsed)
    return refuse(parsed.error().text());
  if (help) return {std::nullopt, arguments.help(), 0};
  if (version) return {std::nullopt, "mvm-vmm " MVM_VERSION "\n", 0};
  if (const std::string why = conflict(arguments, out); !why.empty()) return refuse(why);
  if (!level.empty()) {
    const auto parsed = parse_log_level(level);
    if (!parsed) return refuse(parsed.error().text());
    out.log_level = *parsed;
  }
  if (auto good = validate_instance_id(out.id); !good)
    return refuse("--id: " + good.error().text());
  return {std::move(out), "", 0};
}

}  // namespace mvm::vmm
