// SPDX-License-Identifier: Apache-2.0
#include "agent/serve/plans.h"

#include "agent/builtin/builtins.h"
#include "agent/services/services.h"

namespace mvm::agent {
namespace {

// put and write hand what they make to another user when asked.
Result<builtin::Owner> owner_of(const std::string& user) {
  if (user.empty()) return builtin::Owner{};
  const Credentials credentials = MVM_TRY(lookup_user(user));
  return builtin::Owner{true, credentials.uid, credentials.gid};
}

Result<> run(const wire::Open& open, const OverlayDirs& overlay, int cgroup_fd) {
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
    case wire::OpenKind::kServices:
      return services::serve(open.services, cgroup_fd);
    case wire::OpenKind::kExec:
      break;
  }
  return Error(Errc::kUnsupported, "not a builtin");
}

}  // namespace

ProcessPlan plan_builtin(const wire::Open& open, const OverlayDirs& overlay, int cgroup_fd) {
  ProcessPlan plan;
  plan.builtin = [open, overlay, cgroup_fd] {
    return builtin::report(run(open, overlay, cgroup_fd));
  };
  if (open.kind == wire::OpenKind::kDiff) plan.keep_fds = {overlay.upper, overlay.lower};
  if (open.kind == wire::OpenKind::kServices && cgroup_fd >= 0) plan.keep_fds = {cgroup_fd};
  return plan;
}

}  // namespace mvm::agent
