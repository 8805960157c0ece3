// SPDX-License-Identifier: Apache-2.0
#include "agent/process/exec.h"

#include <sys/stat.h>

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

}  // namespace mvm::agent
