// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/jailer_program.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>  // NOLINT(modernize-deprecated-headers): realpath
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "core/arguments.h"
#include "sys/io.h"

namespace mvm::vmm {
namespace {

constexpr int kBadArguments = 1;  // as the model
constexpr std::uint64_t kOpenFiles = 2048;

bool is_jail_id(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::ranges::all_of(id, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  });
}

void add_options(Arguments& out, JailerArguments& to) {
  JailOptions& jail = to.jail;
  out.add("--id", &to.id, "Name of the jail: letters, digits and hyphens");
  out.add("--exec-file", &to.exec_file, "The program to run in it");
  out.add("--uid", &jail.uid, "User to become");
  out.add("--gid", &jail.gid, "Group to become");
  out.add("--chroot-base-dir", &to.chroot_base, "Where jails are made");
  out.add("--netns", &jail.net, "Path of the network namespace to join");
  out.add("--cgroup", &jail.cgroups, "Control group file to set, FILE=VALUE; may be repeated");
  out.add("--cgroup-version", &jail.cgroup_version, "1 or 2");
  out.add("--parent-cgroup", &jail.parent_cgroup,
          "Where the control group is made; the program's name if not given");
  out.add("--resource-limit", &jail.limits, "fsize=BYTES or no-file=COUNT; may be repeated");
  out.add("--daemonize", &to.daemonize, "A session of its own, standard streams on /dev/null");
  out.add("--new-pid-ns", &to.new_pid_ns, "A process namespace of its own");
  out.add("--optional-layer", &jail.optional,
          "A protection that may be missing (bounding, ipc, uts, …); may be repeated");
}

ParsedJailer refuse(const std::string& message) {
  return {std::nullopt, "mvm-jailer: " + message + "\nsee mvm-jailer --help\n", kBadArguments};
}

Result<std::string> resolve_program(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), ::free);
  if (!real) return Error::from_errno("--exec-file " + path);
  struct stat st;
  if (::stat(real.get(), &st) != 0) return Error::from_errno(real.get());
  if (!S_ISREG(st.st_mode))
    return Error(Errc::kInvalidArgument, std::string(real.get()) + " is not a file to execute");
  return std::string(real.get());
}

// A fresh file, whatever a jail before us may have left in its place; not writable by the jailed.
Result<> copy_program(const std::string& from, const std::string& dir, const std::string& name) {
  const sys::UniqueFd source = MVM_TRY(sys::open_file(from, O_RDONLY));
  struct stat st;
  if (::fstat(source.get(), &st) != 0) return Error::from_errno("stat " + from);
  const sys::UniqueFd root = MVM_TRY(sys::open_file(dir, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  if (::unlinkat(root.get(), name.c_str(), 0) != 0 && errno != ENOENT)
    return Error::from_errno("replacing " + dir + "/" + name);
  const sys::UniqueFd copy =
      MVM_TRY(sys::open_file_at(root.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0700));
  MVM_TRY(
      sys::copy_sparse(source.get(), copy.get(), Bytes{static_cast<std::uint64_t>(st.st_size)}));
  if (::fchmod(copy.get(), 0755) != 0) return Error::from_errno("chmod " + name);
  return {};
}

std::uint64_t microseconds(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec) / 1000;
}

std::vector<std::string> arguments_of(const JailerArguments& arguments,
                                      const std::string& program) {
  std::vector<std::string> out = {program,
                                  "--id",
                                  arguments.id,
                                  "--start-time-us",
                                  std::to_string(microseconds(CLOCK_MONOTONIC)),
                                  "--start-time-cpu-us",
                                  std::to_string(microseconds(CLOCK_PROCESS_CPUTIME_ID))};
  out.insert(out.end(), arguments.extra.begin(), arguments.extra.end());
  return out;
}

}  // namespace

ParsedJailer parse_jailer(const std::vector<std::string>& words) {
  JailerArguments out;
  out.jail.net = "host";
  bool help = false;
  bool version = false;
  Arguments arguments("mvm-jailer: run a monitor in a jail");
  add_options(arguments, out);
  arguments.add("--version", &version, "Print the version");
  arguments.add("--help", &help, "Print this text");
  const auto end = std::ranges::find(words, "--");
  if (end != words.end()) out.extra.assign(end + 1, words.end());
  std::vector<const char*> own;
  for (auto word = words.begin(); word != end; ++word) own.push_back(word->c_str());
  if (auto parsed = arguments.parse(own); !parsed) return refuse(parsed.error().text());
  if (help)
    return {std::nullopt,
            arguments.help() + "\nWhat stands after -- is passed on to the program.\n", 0};
  if (version) return {std::nullopt, "mvm-jailer " MVM_VERSION "\n", 0};
  if (auto all = arguments.require({"--id", "--exec-file", "--uid", "--gid"}); !all)
    return refuse(all.error().text());
  if (!is_jail_id(out.id))
    return refuse("--id '" + out.id + "' is not 1 to 64 letters, digits and hyphens");
  return {std::move(out), "", 0};
}

Result<PreparedJail> prepare_jail(const JailerArguments& arguments) {
  const std::string program = MVM_TRY(resolve_program(arguments.exec_file));
  const std::string name = program.substr(program.find_last_of('/') + 1);
  JailOptions options = arguments.jail;
  if (options.parent_cgroup.empty()) options.parent_cgroup = name;
  // A limit that is lowered first could not be raised again.
  if (std::ranges::none_of(options.limits, [](const auto& l) { return l.starts_with("no-file="); }))
    options.limits.push_back("no-file=" + std::to_string(kOpenFiles));
  PreparedJail out;
  out.config = MVM_TRY(make_jail(options, arguments.id));
  out.config.root = arguments.chroot_base + "/" + name + "/" + arguments.id + "/root";
  out.config.directories = {"/", "/run"};
  out.config.new_pid = arguments.new_pid_ns;
  out.config.parent = JailParent::kLeaves;
  out.config.daemonize = arguments.daemonize;
  out.config.pid_file = "/" + name + ".pid";
  MVM_TRY(sys::make_dirs(out.config.root, 0755));
  if (::chmod(out.config.root.c_str(), 0700) != 0)
    return Error::from_errno("chmod " + out.config.root);
  MVM_TRY(copy_program(program, out.config.root, name));
  out.argv = arguments_of(arguments, "/" + name);
  return out;
}

}  // namespace mvm::vmm
