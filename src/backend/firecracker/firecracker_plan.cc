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

// The tap device in the network namespace of a machine of firecracker.
constexpr const char* kTapName = "mvm0";
// What the monitor in firecracker's jailer sees its files as.
constexpr const char* kKernelName = "kernel";
constexpr const char* kInitramfsName = "initramfs";
constexpr const char* kImageName = "image";
constexpr const char* kScratchName = "scratch";

// As the monitor sees them.
struct Paths {
  std::string kernel;
  std::string initramfs;
  std::string image;
  std::string scratch;  // empty: there is none
};

Paths paths_of(const spec::VmSpec& vm, bool in_jailer) {
  if (!in_jailer) return {vm.kernel_path, vm.initramfs_path, vm.image_path, vm.scratch_path};
  return {kKernelName, kInitramfsName, kImageName, vm.scratch_path.empty() ? "" : kScratchName};
}

// mvm-vmm's guest finds its disks by serial, which is the drive's id.
json drive(const std::string& id, const std::string& path, bool read_only, bool durable) {
  return {{"drive_id", id},
          {"path_on_host", path},
          {"is_root_device", false},
          {"is_read_only", read_only},
          {"cache_type", durable ? "Writeback" : "Unsafe"}};
}

json drives(const spec::VmSpec& vm, const Paths& paths) {
  json out = json::array();
  out.push_back(drive("mvm_root", paths.image, true, false));
  if (!paths.scratch.empty())
    out.push_back(drive("mvm_scratch", paths.scratch, false, !vm.remove_when_done));
  for (std::size_t i = 0; i < vm.volumes.size(); ++i)
    out.push_back(drive(spec::volume_serial(i), vm.volumes[i].disk_path, false, true));
  return out;
}

// Firecracker knows tap devices only.
json network_interface(Monitor monitor) {
  json out = {{"iface_id", "net0"}};
  if (monitor == Monitor::kMvmVmm)
    out["socket_fd"] = kNetworkFd;
  else
    out["host_dev_name"] = kTapName;
  out["guest_mac"] = "52:54:00:12:34:56";
  return out;
}

json config(const spec::VmSpec& vm, Monitor monitor, const Paths& paths) {
  json out;
  out["machine-config"] = {{"vcpu_count", vm.limits.vcpus},
                           {"mem_size_mib", vm.limits.memory.count >> 20}};
  out["boot-source"] = {{"kernel_image_path", paths.kernel},
                        {"initrd_path", paths.initramfs},
                        {"boot_args", kernel_cmdline(vm, monitor)}};
  out["drives"] = drives(vm, paths);
  if (vm.network.mode == spec::NetworkMode::kUser)
    out["network-interfaces"] = json::array({network_interface(monitor)});
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

// The program is copied into a root directory of the machine's own, which is the current one inside
// and where all names in requests begin.
void use_jailer(const spec::VmSpec& vm, LaunchPlan& plan) {
  const std::string base = vm.data_dir + "/jail";
  const std::string program = vm.engine_program.substr(vm.engine_program.find_last_of('/') + 1);
  const std::string user = std::to_string(vm.jail_user);
  plan.contained = true;
  plan.user = vm.jail_user;
  plan.working_dir = base + "/" + program + "/" + vm.id + "/root";
  plan.links = {{vm.kernel_path, kKernelName},
                {vm.initramfs_path, kInitramfsName},
                {vm.image_path, kImageName}};
  if (!vm.scratch_path.empty()) plan.links.emplace_back(vm.scratch_path, kScratchName);
  plan.argv = {vm.jailer_program,
               "--id",
               vm.id,
               "--exec-file",
               vm.engine_program,
               "--uid",
               user,
               "--gid",
               user,
               "--chroot-base-dir",
               base,
               "--"};
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

std::vector<std::string> network_argv(const spec::VmSpec& vm, const LaunchPlan& plan) {
  if (vm.network.mode != spec::NetworkMode::kUser) return {};
  std::vector<std::string> argv = {vm.network_program, "--fd", "3"};
  if (plan.network_namespace) argv.insert(argv.end(), {"--tap", kTapName});
  if (plan.network_namespace && plan.user != 0)
    argv.insert(argv.end(), {"--tap-owner", std::to_string(plan.user)});
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
  // Its guest tells two disks apart, one of which is read-only (ADR 0018).
  if (!vm.volumes.empty() && monitor == Monitor::kFirecracker)
    return Error(Errc::kUnsupported, "the firecracker backend has no volumes")
        .with_hint("give --backend mvm-vmm or qemu");
  if (!vm.restore_dir.empty() && monitor == Monitor::kFirecracker)
    return Error(Errc::kUnsupported, "the firecracker backend restores no machine")
        .with_hint("give --backend mvm-vmm to up, then make the snapshot");
  return {};
}

}  // namespace

std::string kernel_cmdline(const spec::VmSpec& vm, Monitor monitor) {
  const bool ours = monitor == Monitor::kMvmVmm;
  // A triple fault is the shortest way out of mvm-vmm; firecracker takes one for a failure.
  std::string line = "console=ttyS0 quiet panic=-1 rdinit=/init";
  line += ours ? " reboot=t" : " reboot=k";
  // There is one serial port, no PCI bus, no keyboard, and nobody to read an audit log; looking for
  // them takes time.
  line += " 8250.nr_uarts=1 pci=off audit=0 lsm=landlock i8042.noaux i8042.nokbd";
  // As with QEMU: self-tests of tested code, keys for module signatures, and grace periods that a
  // booting single-user system need not wait for.
  line +=
      " cryptomgr.notests=1 rcupdate.rcu_expedited=1"
      " initcall_blacklist=init_kprobe_trace,crypto_kdf108_init,load_system_certificate_list";
  line += " mvm.vsock=" + std::to_string(kAgentVsockPort);
  // Firecracker's serials are numbers of the files behind the disks.
  if (!ours) line += " mvm.disks=access";
  if (!vm.scratch_path.empty()) line += " mvm.scratch=1";
  if (!vm.cmdline_extra.empty()) line += " " + vm.cmdline_extra;
  return line;
}

Result<LaunchPlan> plan(const spec::VmSpec& vm, Monitor monitor) {
  MVM_TRY(check(vm, monitor));
  const bool ours = monitor == Monitor::kMvmVmm;
  const bool user_network = vm.network.mode == spec::NetworkMode::kUser;
  const bool in_jailer = !ours && vm.jail && vm.jail_user != 0;
  LaunchPlan out;
  out.backend = ours ? "mvm-vmm" : "firecracker";
  out.working_dir = vm.run_dir + "/" + kPlace;
  if (in_jailer)
    use_jailer(vm, out);
  else
    out.argv = {vm.engine_program, "--id", vm.id};
  out.directories = {out.working_dir};
  if (ours) out.directories.push_back(saving_dir(vm));
  if (!vm.scratch_path.empty()) out.written = {vm.scratch_path};
  for (const spec::VolumeDisk& volume : vm.volumes) out.written.push_back(volume.disk_path);
  out.read = files_read(vm);
  const json file =
      vm.restore_dir.empty() ? config(vm, monitor, paths_of(vm, in_jailer)) : snapshot_load(vm);
  out.files = {{kConfigFile, file.dump(2) + "\n"}};
  out.agent_socket = std::string(kVsockSocket) + "_" + std::to_string(kAgentVsockPort);
  out.network_namespace = !ours && user_network;
  out.network_argv = network_argv(vm, out);
  out.has_console = true;
  out.console_fd = 1;
  out.argv.insert(out.argv.end(), {"--api-sock", kApiSocket, "--config-file", kConfigFile});
  if (ours) {
    out.files.emplace_back(kMetricsFile, "");
    out.argv.insert(out.argv.end(), {"--metrics-path", kMetricsFile});
  } else {
    // It would add to a file of metrics every minute, for as long as the machine runs; and its log
    // goes to the guest's console.
    out.argv.insert(out.argv.end(), {"--level", "Warning"});
  }
  if (user_network) out.network = GuestNetwork{kGuestAddress, 24, kGatewayAddress, kDnsAddress};
  if (vm.jail && ours) MVM_TRY(enter_jail(vm, out));
  return out;
}

}  // namespace mvm::backend::firecracker
