// SPDX-License-Identifier: Apache-2.0
#include "backend/firecracker/firecracker_plan.h"

#include <nlohmann/json.hpp>

namespace mvm::backend::firecracker {
namespace {

// In the order in which they stand in the file, as people read it.
using json = nlohmann::ordered_json;

// The same addresses as behind QEMU's user-mode network: both are libslirp's.
constexpr const char* kGuestAddress = "10.0.2.15";
constexpr const char* kGatewayAddress = "10.0.2.2";
constexpr const char* kDnsAddress = "10.0.2.3";

// The guest finds its disks by serial, which is the drive's id.
json drive(const char* id, const std::string& path, bool read_only, bool durable) {
  return {{"drive_id", id},
          {"path_on_host", path},
          {"is_root_device", false},
          {"is_read_only", read_only},
          {"cache_type", durable ? "Writeback" : "Unsafe"}};
}

json drives(const spec::VmSpec& vm) {
  json out = json::array();
  out.push_back(drive("mvm_root", vm.image_path, true, false));
  if (!vm.scratch_path.empty())
    out.push_back(drive("mvm_scratch", vm.scratch_path, false, !vm.remove_when_done));
  return out;
}

json config(const spec::VmSpec& vm) {
  json out;
  out["machine-config"] = {{"vcpu_count", vm.limits.vcpus},
                           {"mem_size_mib", vm.limits.memory.count >> 20}};
  out["boot-source"] = {{"kernel_image_path", vm.kernel_path},
                        {"initrd_path", vm.initramfs_path},
                        {"boot_args", kernel_cmdline(vm)}};
  out["drives"] = drives(vm);
  if (vm.network.mode == spec::NetworkMode::kUser)
    out["network-interfaces"] = json::array(
        {{{"iface_id", "net0"}, {"socket_fd", kNetworkFd}, {"guest_mac", "52:54:00:12:34:56"}}});
  out["vsock"] = {{"guest_cid", kGuestCid}, {"uds_path", kVsockSocket}};
  return out;
}

// What the monitor opens, of the files that are not its own.
std::vector<std::string> files_read(const spec::VmSpec& vm) {
  if (vm.restore_dir.empty()) return {vm.kernel_path, vm.initramfs_path, vm.image_path};
  const SnapshotFiles files = snapshot_files(vm.restore_dir);
  return {files.state, files.memory, vm.image_path};
}

// Source: docs/howto/jail.md. Paths are the same inside.
std::vector<std::string> jail_argv(const LaunchPlan& plan) {
  std::vector<std::string> out = {"--jail", "--jail-dir", plan.working_dir};
  const auto show = [&out](const std::vector<std::string>& paths, const char* access) {
    for (const std::string& path : paths) out.insert(out.end(), {"--jail-file", path + access});
  };
  show(plan.directories, ":rw");
  show(plan.written, ":rw");
  show(plan.read, ":ro");
  if (!plan.network_argv.empty()) out.insert(out.end(), {"--jail-fd", std::to_string(kNetworkFd)});
  if (plan.user != 0) {
    const std::string user = std::to_string(plan.user);
    out.insert(out.end(), {"--jail-uid", user, "--jail-gid", user});
  }
  return out;
}

// A colon ends the name of a file on the jail's command line.
Result<> check_names(const LaunchPlan& plan) {
  for (const auto* paths : {&plan.directories, &plan.written, &plan.read}) {
    for (const std::string& path : *paths) {
      if (path.find(':') == std::string::npos) continue;
      return Error(Errc::kUnsupported, path + ": a jail cannot show a file with ':' in its name")
          .with_hint("choose another MVM_HOME, or go without: mvmctl config set jail off");
    }
  }
  return {};
}

Result<> enter_jail(const spec::VmSpec& vm, LaunchPlan& plan) {
  plan.jailed = true;
  plan.user = vm.jail_user;
  MVM_TRY(check_names(plan));
  const std::vector<std::string> arguments = jail_argv(plan);
  plan.argv.insert(plan.argv.end(), arguments.begin(), arguments.end());
  return {};
}

// Where the saved machine's disks and its network are on this host. Its vsock is named relative to
// the working directory, and so is this machine's own.
json snapshot_load(const spec::VmSpec& vm) {
  const SnapshotFiles files = snapshot_files(vm.restore_dir);
  json load = {{"snapshot_path", files.state},
               {"mem_backend", {{"backend_type", "File"}, {"backend_path", files.memory}}},
               {"resume_vm", true}};
  load["drive_overrides"] =
      json::array({{{"drive_id", "mvm_root"}, {"path_on_host", vm.image_path}}});
  if (!vm.scratch_path.empty())
    load["drive_overrides"].push_back(
        {{"drive_id", "mvm_scratch"}, {"path_on_host", vm.scratch_path}});
  if (vm.network.mode == spec::NetworkMode::kUser)
    load["network_overrides"] = json::array({{{"iface_id", "net0"}, {"socket_fd", kNetworkFd}}});
  load["vsock_override"] = {{"uds_path", kVsockSocket}};
  return {{"snapshot-load", load}};
}

std::vector<std::string> network_argv(const spec::VmSpec& vm) {
  if (vm.network.mode != spec::NetworkMode::kUser) return {};
  std::vector<std::string> argv = {vm.network_program, "--fd", "3"};
  for (const spec::PortForward& f : vm.network.forwards) {
    argv.insert(argv.end(),
                {"--forward", std::string(f.protocol == spec::Protocol::kUdp ? "udp:" : "tcp:") +
                                  f.host_ip + ":" + std::to_string(f.host_port) + ":" +
                                  std::to_string(f.guest_port)});
  }
  return argv;
}

Result<> check(const spec::VmSpec& vm, Monitor monitor) {
  if (vm.arch != spec::Arch::kX86_64)
    return Error(Errc::kUnsupported, "the " + vm.backend + " backend has no aarch64 guests yet")
        .with_hint("use an x86_64 image");
  if (vm.limits.vcpus > 32)
    return Error(Errc::kUnsupported, "the " + vm.backend + " backend has at most 32 cpus")
        .with_hint("give --cpus 32, or --backend qemu");
  // Firecracker's only network is a tap device, which takes privileges to make.
  if (monitor == Monitor::kFirecracker && vm.network.mode == spec::NetworkMode::kUser)
    return Error(Errc::kUnsupported, "firecracker has no network without a tap device")
        .with_hint("give --network none, or --backend mvm-vmm");
  if (!vm.restore_dir.empty() && monitor == Monitor::kFirecracker)
    return Error(Errc::kUnsupported, "the firecracker backend restores no machine")
        .with_hint("give --backend mvm-vmm to up, then make the snapshot");
  return {};
}

}  // namespace

std::string kernel_cmdline(const spec::VmSpec& vm) {
  std::string line = "console=ttyS0 quiet panic=-1 reboot=t rdinit=/init";
  // There is one serial port, no PCI bus, no keyboard, and nobody to read an audit log; looking for
  // them takes time.
  line += " 8250.nr_uarts=1 pci=off audit=0 lsm=landlock i8042.noaux i8042.nokbd";
  // As with QEMU: self-tests of tested code, keys for module signatures, and grace periods that a
  // booting single-user system need not wait for.
  line +=
      " cryptomgr.notests=1 rcupdate.rcu_expedited=1"
      " initcall_blacklist=init_kprobe_trace,crypto_kdf108_init,load_system_certificate_list";
  line += " mvm.vsock=" + std::to_string(kAgentVsockPort);
  if (!vm.scratch_path.empty()) line += " mvm.scratch=1";
  if (!vm.cmdline_extra.empty()) line += " " + vm.cmdline_extra;
  return line;
}

Result<LaunchPlan> plan(const spec::VmSpec& vm, Monitor monitor) {
  MVM_TRY(check(vm, monitor));
  LaunchPlan out;
  out.backend = monitor == Monitor::kMvmVmm ? "mvm-vmm" : "firecracker";
  out.working_dir = vm.run_dir + "/" + kPlace;
  out.directories = {out.working_dir};
  if (monitor == Monitor::kMvmVmm) out.directories.push_back(saving_dir(vm));
  if (!vm.scratch_path.empty()) out.written = {vm.scratch_path};
  out.read = files_read(vm);
  const json file = vm.restore_dir.empty() ? config(vm) : snapshot_load(vm);
  out.files = {{kConfigFile, file.dump(2) + "\n"}};
  out.agent_socket = std::string(kVsockSocket) + "_" + std::to_string(kAgentVsockPort);
  out.network_argv = network_argv(vm);
  out.has_console = true;
  out.console_fd = 1;
  out.argv = {vm.engine_program, "--id",          vm.id,      "--api-sock",
              kApiSocket,        "--config-file", kConfigFile};
  // Firecracker would add to the file every minute, for as long as the machine runs.
  if (monitor == Monitor::kMvmVmm) {
    out.files.emplace_back(kMetricsFile, "");
    out.argv.insert(out.argv.end(), {"--metrics-path", kMetricsFile});
  }
  if (vm.network.mode == spec::NetworkMode::kUser)
    out.network = GuestNetwork{kGuestAddress, 24, kGatewayAddress, kDnsAddress};
  // Firecracker's own jailer needs root and a static firecracker; it is left to whoever has both.
  if (vm.jail && monitor == Monitor::kMvmVmm) MVM_TRY(enter_jail(vm, out));
  return out;
}

}  // namespace mvm::backend::firecracker
