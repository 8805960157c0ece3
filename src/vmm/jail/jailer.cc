// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/jailer.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/log.h"
#include "sys/capabilities.h"
#include "sys/files.h"
#include "sys/io.h"
#include "vmm/jail/confine.h"
#include "vmm/jail/jail_root.h"
#include "vmm/jail/namespaces.h"

namespace mvm::vmm {
namespace {

using Net = JailConfig::Net;

constexpr std::array<std::pair<JailLayer, std::string_view>, 12> kLayers = {{
    {JailLayer::kUser, "user"},
    {JailLayer::kMount, "mount"},
    {JailLayer::kRoot, "root"},
    {JailLayer::kIdentity, "identity"},
    {JailLayer::kPrivileges, "privileges"},
    {JailLayer::kBounding, "bounding"},
    {JailLayer::kNet, "net"},
    {JailLayer::kPid, "pid"},
    {JailLayer::kIpc, "ipc"},
    {JailLayer::kUts, "uts"},
    {JailLayer::kCgroup, "cgroup"},
    {JailLayer::kLimits, "limits"},
}};

bool may_be_optional(JailLayer layer) { return layer >= JailLayer::kBounding; }

struct Entering {
  const JailConfig& config;
  bool as_root;
  std::optional<JailRoot> root;
  sys::UniqueFd null;
  bool in_new_pid = false;
  // Of the process that entered: who started it, and the signal it wants when that one ends.
  pid_t starter = ::getppid();
  int starters_death = 0;
};

bool always(const Entering&) { return true; }
bool forks(const Entering& e) { return e.in_new_pid || e.config.daemonize; }

Result<> close_all(Entering& e) {
  MVM_TRY(close_descriptors(e.config.keep_descriptors));
  if (e.config.daemonize) e.null = MVM_TRY(sys::open_file("/dev/null", O_RDWR));
  return {};
}

Result<> set_limits(Entering& e) {
  for (const ResourceLimit& limit : e.config.limits)
    MVM_TRY(set_limit(limit.resource, limit.value));
  return {};
}

Result<> new_user(Entering& e) {
  return enter_user_namespace(e.config.uid.value_or(::geteuid()),
                              e.config.gid.value_or(::getegid()));
}

Result<> build_root(Entering& e) {
  // The directories on the way to what is shown are for the jailed user to walk through.
  const mode_t before = ::umask(022);
  const sys::ScopeGuard restore([before] { ::umask(before); });
  std::optional<JailOwner> owner;
  if (e.as_root) owner = JailOwner{*e.config.uid, *e.config.gid};
  e.root = MVM_TRY(JailRoot::create(e.config, owner));
  for (const JailEntry& entry : e.config.entries) MVM_TRY(e.root->add(entry));
  for (const JailDevice& device : e.config.devices) MVM_TRY(e.root->add(device));
  for (const std::string& directory : e.config.directories)
    MVM_TRY(e.root->add_directory(directory));
  if (e.config.root.empty() && e.config.directories.empty()) MVM_TRY(e.root->make_read_only());
  return {};
}

Result<> new_pid(Entering& e) {
  MVM_TRY(unshare_namespace(CLONE_NEWPID));
  e.in_new_pid = true;
  return {};
}

Result<> note_starter(Entering& e) {
  if (::prctl(PR_GET_PDEATHSIG, &e.starters_death) != 0)
    return Error::from_errno("PR_GET_PDEATHSIG");
  return {};
}

// The kernel forgets the wish when the user changes. Source: PR_SET_PDEATHSIG(2const).
Result<> die_with_starter(Entering& e) {
  if (e.starters_death == 0) return {};
  if (::prctl(PR_SET_PDEATHSIG, e.starters_death) != 0)
    return Error::from_errno("PR_SET_PDEATHSIG");
  if (::getppid() != e.starter) ::_exit(127);  // it ended meanwhile
  return {};
}

Result<> enter_directory(Entering& e) {
  if (::chdir(e.config.working_dir.c_str()) != 0)
    return Error::from_errno("chdir " + e.config.working_dir);
  return {};
}

Result<> fork_child(Entering& e) {
  FinalFork options;
  options.parent = e.config.daemonize ? JailParent::kLeaves : e.config.parent;
  if (e.in_new_pid) options.pid_file = e.config.pid_file;
  options.new_session = e.config.daemonize;
  return fork_into_jail(options);
}

struct Step {
  const char* doing;
  std::optional<JailLayer> layer;
  bool (*wanted)(const Entering&);
  Result<> (*run)(Entering&);
};

// What needs the host's files comes before the new root, what needs privileges before their end.
// The network is joined as whom we are outside.
constexpr std::array<Step, 20> kSteps = {{
    {"asking who started us", {}, always, note_starter},
    {"closing descriptors", {}, always, close_all},
    {"emptying the environment", {}, always, [](Entering&) { return clear_environment(); }},
    {"setting limits", JailLayer::kLimits, always, set_limits},
    {"entering the cgroup", JailLayer::kCgroup,
     [](const Entering& e) { return e.config.cgroup.has_value(); },
     [](Entering& e) { return enter_cgroup(*e.config.cgroup); }},
    {"joining the network namespace", JailLayer::kNet,
     [](const Entering& e) { return e.config.net == Net::kJoin; },
     [](Entering& e) { return join_net_namespace(e.config.join_net); }},
    {"making a user namespace", JailLayer::kUser, [](const Entering& e) { return !e.as_root; },
     new_user},
    {"making a network namespace", JailLayer::kNet,
     [](const Entering& e) { return e.config.net == Net::kNew; },
     [](Entering&) { return unshare_namespace(CLONE_NEWNET); }},
    {"making an ipc namespace", JailLayer::kIpc, [](const Entering& e) { return e.config.new_ipc; },
     [](Entering&) { return unshare_namespace(CLONE_NEWIPC); }},
    {"making a uts namespace", JailLayer::kUts, [](const Entering& e) { return e.config.new_uts; },
     [](Entering&) { return unshare_namespace(CLONE_NEWUTS); }},
    {"making a mount namespace", JailLayer::kMount, always,
     [](Entering&) { return unshare_namespace(CLONE_NEWNS); }},
    {"building the root", JailLayer::kRoot, always, build_root},
    {"entering the root", JailLayer::kRoot, always, [](Entering& e) { return e.root->enter(); }},
    {"making a process namespace", JailLayer::kPid,
     [](const Entering& e) { return e.config.new_pid; }, new_pid},
    {"emptying the bounding set", JailLayer::kBounding, always,
     [](Entering&) { return empty_bounding_set(); }},
    {"changing the user", JailLayer::kIdentity, [](const Entering& e) { return e.as_root; },
     [](Entering& e) { return change_identity(*e.config.uid, *e.config.gid); }},
    {"dropping privileges", JailLayer::kPrivileges, always,
     [](Entering&) { return drop_privileges(); }},
    {"dying with who started us", {}, always, die_with_starter},
    {"entering the working directory",
     {},
     [](const Entering& e) { return !e.config.working_dir.empty(); },
     enter_directory},
    {"starting the jailed process", {}, forks, fork_child},
}};

Error as_root_needs_a_user() {
  return Error(Errc::kInvalidArgument, "started as root: a jail needs a uid and a gid to change to")
      .with_hint("name an unprivileged user that owns nothing else, or start as such a user");
}

std::string user_namespace_hint() {
  return "user namespaces may be off for ordinary users: see the sysctls "
         "user.max_user_namespaces, kernel.unprivileged_userns_clone and "
         "kernel.apparmor_restrict_unprivileged_userns; or start as root";
}

// An error of the configuration or of a file that is missing says all by itself; one of the host is
// a missing layer.
Error explain(const Step& step, Error error) {
  if (!step.layer) return std::move(error).with_context(step.doing);
  const JailLayer layer = *step.layer;
  std::string hint = error.hint();
  if (hint.empty() && layer == JailLayer::kUser) hint = user_namespace_hint();
  if (hint.empty() && may_be_optional(layer))
    hint = "to go without it, list '" + std::string(layer_name(layer)) + "' as optional";
  return std::move(error)
      .with_context(step.doing)
      .with_context("jail layer '" + std::string(layer_name(layer)) + "'")
      .with_hint(std::move(hint));
}

Result<> run(const Step& step, Entering& entering) {
  if (!step.wanted(entering)) return {};
  auto done = step.run(entering);
  if (done) return {};
  Error error = explain(step, std::move(done.error()));
  const auto& optional = entering.config.optional;
  if (!step.layer || std::ranges::find(optional, *step.layer) == optional.end()) return error;
  log::warn("going without: " + error.text());
  return {};
}

Result<> validate(const JailConfig& config, bool as_root) {
  if (as_root && !(config.uid && config.gid)) return as_root_needs_a_user();
  for (const JailLayer layer : config.optional) {
    if (!may_be_optional(layer))
      return Error(Errc::kInvalidArgument,
                   "jail layer '" + std::string(layer_name(layer)) + "' can never be optional");
  }
  if (config.cgroup) MVM_TRY(vmm::validate(*config.cgroup));
  return validate_root(config);
}

}  // namespace

std::string_view layer_name(JailLayer layer) {
  return std::ranges::find(kLayers, layer, &decltype(kLayers)::value_type::first)->second;
}

Result<JailLayer> parse_optional_layer(std::string_view name) {
  std::string choices;
  for (const auto& [layer, known] : kLayers) {
    if (!may_be_optional(layer)) {
      if (known == name)
        return Error(Errc::kInvalidArgument,
                     "jail layer '" + std::string(name) + "' can never be optional");
      continue;
    }
    if (known == name) return layer;
    choices += (choices.empty() ? "" : ", ") + std::string(known);
  }
  return Error(Errc::kInvalidArgument, "there is no jail layer '" + std::string(name) + "'")
      .with_hint("choose of: " + choices);
}

bool jails_as_root() { return sys::has_capability(CAP_SYS_ADMIN); }

Result<> enter_jail(const JailConfig& config) {
  Entering entering{config, jails_as_root(), {}, {}};
  MVM_TRY(validate(config, entering.as_root));
  for (const Step& step : kSteps) MVM_TRY(run(step, entering));
  if (config.daemonize) MVM_TRY(redirect_standard_streams(entering.null.get()));
  return {};
}

}  // namespace mvm::vmm
