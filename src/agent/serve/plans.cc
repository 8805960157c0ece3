// SPDX-License-Identifier: Apache-2.0
#include "agent/serve/plans.h"

#include <sys/stat.h>

#include "agent/builtin/builtins.h"
#include "sys/io.h"

namespace mvm::agent {
namespace {

constexpr const char* kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

bool is_directory(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

void add_default(std::vector<std::string>& env, const std::string& name, const std::string& value) {
  for (const std::string& entry : env) {
    if (entry.starts_with(name + "=")) return;
  }
  env.push_back(name + "=" + value);
}

// put and write hand what they make to another user when asked.
Result<builtin::Owner> owner_of(const std::string& user) {
  if (user.empty()) return builtin::Owner{};
  const Credentials credentials = MVM_TRY(lookup_user(user));
  return builtin::Owner{true, credentials.uid, credentials.gid};
}

Result<> run(const wire::Open& open, const OverlayDirs& overlay) {
  const wire::FileRequest& file = open.file;
  switch (open.kind) {
    case wire::OpenKind::kPut:
      return builtin::put(file, MVM_TRY(owner_of(file.user)));
    case wire::OpenKind::kGet:
      return builtin::get(file);
    case wire::OpenKind::kStat:
      return builtin::stat(file);
    case wire::OpenKind::kList:
      return builtin::list(file);
    case wire::OpenKind::kRead:
      return builtin::read(file);
    case wire::OpenKind::kWrite:
      return builtin::write(file, MVM_TRY(owner_of(file.user)));
    case wire::OpenKind::kDiff:
      return builtin::diff(overlay.upper, overlay.lower);
    case wire::OpenKind::kConnect:
      return builtin::connect(file);
    case wire::OpenKind::kExec:
      break;
  }
  return Error(Errc::kUnsupported, "not a builtin");
}

}  // namespace

Result<ProcessPlan> plan_exec(const wire::ExecRequest& request) {
  ProcessPlan plan;
  plan.user = MVM_TRY(lookup_user(request.user));
  plan.argv = request.argv;
  plan.env = request.env;
  add_default(plan.env, "PATH", kDefaultPath);
  add_default(plan.env, "HOME", plan.user.home);
  const std::string name = plan.user.name.empty() ? std::to_string(plan.user.uid) : plan.user.name;
  add_default(plan.env, "USER", name);
  add_default(plan.env, "LOGNAME", name);
  if (request.tty) add_default(plan.env, "TERM", "xterm");
  plan.working_dir = request.working_dir;
  if (plan.working_dir.empty())
    plan.working_dir = is_directory(plan.user.home) ? plan.user.home : "/";
  if (request.make_working_dir)
    (void)sys::make_dirs(plan.working_dir, 0755);  // chdir tells when it failed
  plan.tty = request.tty;
  plan.rows = request.rows;
  plan.columns = request.columns;
  return plan;
}

ProcessPlan plan_builtin(const wire::Open& open, const OverlayDirs& overlay) {
  ProcessPlan plan;
  plan.builtin = [open, overlay] { return builtin::report(run(open, overlay)); };
  if (open.kind == wire::OpenKind::kDiff) plan.keep_fds = {overlay.upper, overlay.lower};
  return plan;
}

}  // namespace mvm::agent
