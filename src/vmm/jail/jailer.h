// SPDX-License-Identifier: Apache-2.0
// A jail for the calling process: after enter_jail() it sees the files it was given and no other,
// has no capability, no way to get one, and namespaces of its own.
//
//   root (CAP_SYS_ADMIN)   changes to another uid and gid; device nodes are made anew for them
//   anybody else           a user namespace that knows one user, ourselves; devices are bound
//
// Every protection is a layer with a name. One that was asked for and cannot be had on this host is
// an error that names it, unless the caller has listed it as optional: then it is a warning.
// /proc is not part of a jail.
//
// Source: namespaces(7), user_namespaces(7), pivot_root(2), capabilities(7), cgroups(7). Needs
// Linux 5.12 (mount_setattr).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "vmm/jail/cgroup.h"

namespace mvm::vmm {

enum class JailLayer {
  kUser,        // a user namespace, unless we are root
  kMount,       // a mount namespace
  kRoot,        // a root directory of its own
  kIdentity,    // another user, when we are root
  kPrivileges,  // no capabilities, no_new_privs
  // These may be optional:
  kBounding,  // the bounding set of capabilities is emptied too
  kNet,
  kPid,
  kIpc,
  kUts,
  kCgroup,
  kLimits,
};

// "user", "mount", "root", "identity", "privileges", "bounding", "net", "pid", …
std::string_view layer_name(JailLayer layer);
// Names of layers that may be optional. Errors: kInvalidArgument: unknown, or never optional.
Result<JailLayer> parse_optional_layer(std::string_view name);

// A file or directory of the host that the jail shows.
struct JailEntry {
  enum class Access { kReadOnly, kReadWrite };
  std::string path;    // symbolic links are followed, once, before the jail is closed
  std::string inside;  // absolute; empty: the same as `path`
  Access access = Access::kReadOnly;
  bool executable = false;
};

struct JailDevice {
  std::string path;  // the same inside
  bool required = true;
};

struct ResourceLimit {
  int resource = 0;  // RLIMIT_…
  std::uint64_t value = 0;
};

// What becomes of the process that called enter_jail() when the jailed one is its child.
enum class JailParent {
  // Waits, passes signals on and ends as the child did; the child dies with it, and of SIGTERM,
  // SIGINT, SIGHUP and SIGQUIT unless it handles them. SIGUSR1 it passes on as SIGKILL: unlike one
  // that is killed itself, it then ends only when nothing of the child is left.
  kGuards,
  kLeaves,  // writes the child's pid to `pid_file`, if there is one, and ends with code 0
};

struct JailConfig {
  // Empty: a fresh root in memory that holds `entries`, `devices` and `directories`, read-only when
  // there are no `directories`. Otherwise an existing directory that becomes the root, writable;
  // mounts below it are not taken along.
  std::string root;
  std::vector<JailEntry> entries;  // none may lie inside another
  std::vector<JailDevice> devices;
  std::vector<std::string> directories;  // made inside, belonging to the jailed user, mode 0700
  std::string working_dir;               // inside; empty: "/"

  // Root must name both. Anybody else keeps who he is outside, and is this one inside; nothing: the
  // same as outside.
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;

  enum class Net { kNew, kHost, kJoin } net = Net::kNew;
  std::string join_net;  // kJoin: path of the network namespace
  bool new_pid = true;   // makes the jailed process a child, see `parent`
  bool new_ipc = true;
  bool new_uts = true;

  std::vector<ResourceLimit> limits;
  std::optional<CgroupConfig> cgroup;
  std::vector<int> keep_descriptors;  // apart from 0, 1 and 2; all others are closed

  std::vector<JailLayer> optional;
  JailParent parent = JailParent::kGuards;
  std::string pid_file;    // inside, for kLeaves with new_pid
  bool daemonize = false;  // a session of its own, 0 to 2 on /dev/null; implies kLeaves
};

// Whether the caller would be jailed as root, see above.
bool jails_as_root();

// Returns in the jailed process only. With `new_pid` or `daemonize` that is a child of the caller.
// Its environment is empty. Whoever was to die with its starter (PR_SET_PDEATHSIG) still does.
// Errors: kInvalidArgument: the configuration; kUnavailable: a layer is missing; kNotFound: a file.
// After an error the process may be half jailed and is fit only to say so and to end.
// Threads: the caller must be the only one.
Result<> enter_jail(const JailConfig& config);

}  // namespace mvm::vmm
