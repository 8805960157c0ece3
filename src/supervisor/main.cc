// SPDX-License-Identifier: Apache-2.0
// mvm-supervisor: started by mvmctl with a specification, a connection and a lock
// (supervisor/launch.h).
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"
#include "spec/vm_spec_json.h"
#include "supervisor/launch.h"
#include "supervisor/supervisor.h"
#include "sys/io.h"

namespace {

using namespace mvm;

void set_cloexec(int fd) { ::fcntl(fd, F_SETFD, FD_CLOEXEC); }

// A machine that ends with its command leaves nothing behind, whoever was killed first.
void remove_traces(const spec::VmSpec& vm) {
  if (!vm.remove_when_done) return;
  for (const std::string& dir : {vm.data_dir, vm.run_dir}) {
    if (auto removed = sys::remove_tree(dir); !removed) log::warn(removed.error().text());
  }
}

Result<> supervise(sys::UniqueFd founder, sys::UniqueFd control) {
  const spec::VmSpec vm =
      MVM_TRY(spec::vm_spec_from_json(MVM_TRY(sys::read_fd(supervisor::kSpecFd))));
  ::close(supervisor::kSpecFd);
  const auto end_of_volumes = supervisor::kVolumeFd + static_cast<int>(vm.volumes.size());
  for (int fd = supervisor::kVolumeFd; fd < end_of_volumes; ++fd) set_cloexec(fd);
  const sys::UniqueFd log_fd = MVM_TRY(sys::open_file(
      vm.data_dir + "/supervisor.log", O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600));
  log::init(log_fd.get(), log::Level::kInfo, "");
  auto console =
      MVM_TRY(supervisor::RotatingLog::open(vm.data_dir + "/console.log", vm.limits.log_size));
  auto output =
      MVM_TRY(supervisor::RotatingLog::open(vm.data_dir + "/output.log", vm.limits.log_size));
  auto engine =
      MVM_TRY(supervisor::RotatingLog::open(vm.data_dir + "/engine.log", vm.limits.log_size));
  sys::EventLoop loop = MVM_TRY(sys::EventLoop::create());
  Result<> done;
  {
    supervisor::Supervisor supervisor(loop, vm, std::move(console), std::move(output),
                                      std::move(engine));
    done = supervisor.run(std::move(founder), std::move(control));
    if (!done) log::error(done.error().text());
    remove_traces(vm);
    // Before the connections end: whoever waited for that may take the locks at once.
    ::close(supervisor::kLockFd);
    for (int fd = supervisor::kVolumeFd; fd < end_of_volumes; ++fd) ::close(fd);
    // Not before: who finds no socket takes the machine for ended.
    ::unlink(supervisor::control_socket(vm.run_dir).c_str());
  }
  log::init(2, log::Level::kInfo, "");
  return done;
}

}  // namespace

int main() {
  // What a burst of output has taken goes back when it is over: there is one of us for each
  // machine. Left alone, malloc raises both limits with the first large block and keeps what it was
  // given.
  ::mallopt(M_MMAP_THRESHOLD, 256 << 10);
  ::mallopt(M_TRIM_THRESHOLD, 512 << 10);
  for (const int fd :
       {supervisor::kSpecFd, supervisor::kFounderFd, supervisor::kLockFd, supervisor::kControlFd})
    set_cloexec(fd);
  ::signal(SIGPIPE, SIG_IGN);
  ::umask(077);
  return supervise(sys::UniqueFd(supervisor::kFounderFd), sys::UniqueFd(supervisor::kControlFd))
             ? 0
             : 1;
}
