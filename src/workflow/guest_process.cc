// SPDX-License-Identifier: Apache-2.0
#include "workflow/guest_process.h"

#include "spec/guest_label.h"

namespace mvm::workflow {

spec::ProcessSpec process_for(const CreateRequest& request, const spec::ImageConfig& image,
                              const HostEnv& host_env) {
  spec::ProcessSpec out;
  if (!request.entrypoint) {
    out.argv = image.entrypoint;
  } else if (!request.entrypoint->empty()) {
    out.argv = {*request.entrypoint};
  }
  // As container engines do: a given command replaces CMD; a given entrypoint drops it.
  const bool use_cmd = request.command.empty() && !request.entrypoint;
  const auto& rest = use_cmd ? image.cmd : request.command;
  out.argv.insert(out.argv.end(), rest.begin(), rest.end());
  out.env = image.env;
  for (const std::string& entry : request.env) {
    if (entry.find('=') != std::string::npos) {
      out.env.push_back(entry);
    } else if (const auto value = host_env(entry)) {
      out.env.push_back(entry + "=" + *value);
    }
  }
  out.working_dir = request.working_dir.empty() ? image.working_dir : request.working_dir;
  out.user = request.user.empty() ? image.user : request.user;
  if (!image.stop_signal.empty()) out.stop_signal = image.stop_signal;
  return out;
}

Result<spec::ProcessSpec> set_guest(spec::VmSpec& vm, const CreateRequest& request,
                                    const spec::ImageConfig& image, const HostEnv& host_env) {
  spec::ProcessSpec process = process_for(request, image, host_env);
  vm.exec_defaults = process;
  vm.exec_defaults.argv.clear();
  if (request.main_process && !request.idle && !process.argv.empty()) vm.process = process;
  // Ports, volumes and resources are not taken from an image: whoever made it may not open a port.
  if (auto guest = MVM_TRY(spec::guest_of(image)); guest && !request.idle) {
    vm.services = std::move(guest->services);
    if (vm.process && request.command.empty() && !request.entrypoint)
      vm.health = std::move(guest->health);
  }
  return process;
}

}  // namespace mvm::workflow
