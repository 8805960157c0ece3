// SPDX-License-Identifier: Apache-2.0
#include "supervisor/launch.h"

#include "spec/vm_spec_json.h"
#include "sys/io.h"
#include "sys/process.h"
#include "sys/socket.h"

namespace mvm::supervisor {

Result<sys::UniqueFd> launch(const std::string& program, const spec::VmSpec& vm,
                             const sys::FileLock& lock, int control,
                             const std::vector<sys::FileLock>& volumes) {
  const sys::UniqueFd spec = MVM_TRY(sys::memory_file("mvm-spec", spec::to_json(vm)));
  sys::SocketPair founder = MVM_TRY(sys::make_socket_pair());
  sys::Command command;
  command.argv = {program, vm.name};
  command.new_session = true;
  command.working_dir = "/";
  command.fds = {{spec.get(), kSpecFd},
                 {founder.second.get(), kFounderFd},
                 {lock.fd(), kLockFd},
                 {control, kControlFd}};
  for (int fd = kVolumeFd; const sys::FileLock& volume : volumes)
    command.fds.push_back({volume.fd(), fd++});
  sys::Child child = MVM_TRY_CTX(sys::spawn(command), "starting the supervisor");
  child.detach();
  return std::move(founder.first);
}

}  // namespace mvm::supervisor
