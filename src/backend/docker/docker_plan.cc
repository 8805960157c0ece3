// SPDX-License-Identifier: Apache-2.0
#include "backend/docker/docker_plan.h"

#include <nlohmann/json.hpp>

#include "backend/engine_process.h"

namespace mvm::backend::docker {
namespace {

using nlohmann::json;

json mount_of(const std::string& source, const char* target, bool read_only) {
  return {{"Type", "bind"}, {"Source", source}, {"Target", target}, {"ReadOnly", read_only}};
}

std::string port_name(const spec::PortForward& forward) {
  return std::to_string(forward.guest_port) +
         (forward.protocol == spec::Protocol::kUdp ? "/udp" : "/tcp");
}

void add_ports(const spec::VmSpec& vm, json& create, json& host) {
  for (const spec::PortForward& forward : vm.network.forwards) {
    const std::string name = port_name(forward);
    create["ExposedPorts"][name] = json::object();
    host["PortBindings"][name].push_back(
        {{"HostIp", forward.host_ip}, {"HostPort", std::to_string(forward.host_port)}});
  }
}

json create_body(const spec::VmSpec& vm) {
  const std::string agent =
      vm.engine_program.substr(0, vm.engine_program.find_last_of('/') + 1) + "mvm-agent";
  json create = {{"Hostname", vm.hostname},
                 {"Entrypoint", {kGuestAgent, "--connect", kGuestSocket}},
                 {"WorkingDir", "/"},
                 {"User", "0:0"}};
  json host = {{"Mounts",
                {mount_of(agent, kGuestAgent, true),
                 mount_of(vm.run_dir + "/" + kPlace + "/" + kAgentSocket, kGuestSocket, false)}},
               // Whatever ends the container, it leaves nothing.
               {"AutoRemove", true},
               {"Memory", vm.limits.memory.count},
               {"MemorySwap", vm.limits.memory.count},
               {"NanoCpus", static_cast<std::uint64_t>(vm.limits.vcpus) * 1'000'000'000}};
  if (vm.limits.pids != 0) host["PidsLimit"] = vm.limits.pids;
  if (vm.network.mode == spec::NetworkMode::kNone) host["NetworkMode"] = "none";
  add_ports(vm, create, host);
  create["HostConfig"] = std::move(host);
  return create;
}

}  // namespace

Result<LaunchPlan> plan(const spec::VmSpec& vm) {
  if (!vm.restore_dir.empty()) return no_snapshots("docker");
  if (!vm.volumes.empty())
    return Error(Errc::kUnsupported, "the docker backend has no volumes")
        .with_hint("backends with volumes: qemu, mvm-vmm");
  if (!vm.sealed_by.empty())
    return Error(Errc::kUnsupported, "a container cannot keep a seal")
        .with_hint("a sealed image needs a machine of its own: --backend qemu or mvm-vmm");
  LaunchPlan out;
  out.backend = "docker";
  out.working_dir = vm.run_dir + "/" + kPlace;
  out.argv = {vm.engine_program, "run", kOrderFile};
  const json order = {{"schema", 1},
                      {"name", "mvm-" + vm.id},
                      {"lock", vm.run_dir + "/lock"},
                      {"image", {{"digest", vm.image_digest}, {"path", vm.image_path}}},
                      {"create", create_body(vm)}};
  out.files = {{kOrderFile, order.dump(2, ' ', false, json::error_handler_t::replace) + "\n"}};
  out.directories = {out.working_dir};
  out.agent_socket = kAgentSocket;
  out.has_control = out.has_console = true;
  return out;
}

}  // namespace mvm::backend::docker
