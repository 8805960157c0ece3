// SPDX-License-Identifier: Apache-2.0
#include "backend/qemu/qemu_plan.h"

#include <nlohmann/json.hpp>

namespace mvm::backend::qemu {
namespace {

using nlohmann::json;

bool uses_kvm(const spec::VmSpec& vm) { return vm.accelerator == "kvm"; }

// Option lists of QEMU separate by commas; a comma inside a value is written twice.
std::string escape(const std::string& value) {
  std::string out;
  for (const char c : value) {
    out += c;
    if (c == ',') out += c;
  }
  return out;
}

// As JSON, so that no character of a path needs escaping.
std::string blockdev(const std::string& node, const std::string& path, bool read_only,
                     bool durable) {
  json file = {{"driver", "file"}, {"filename", path}, {"read-only", read_only}};
  json cache = {{"direct", false}, {"no-flush", !durable}};
  json raw = {{"driver", "raw"},
              {"node-name", node},
              {"read-only", read_only},
              {"file", file},
              {"cache", cache}};
  if (!read_only) raw["discard"] = "unmap";
  return raw.dump();
}

void add_disks(const spec::VmSpec& vm, std::vector<std::string>& argv) {
  // The guest finds its disks by serial: virtio-mmio devices are probed in no promised order.
  argv.insert(argv.end(), {"-blockdev", blockdev("root", vm.image_path, true, true), "-device",
                           "virtio-blk-device,drive=root,serial=mvm_root"});
  if (!vm.scratch_path.empty())
    argv.insert(argv.end(),
                {"-blockdev", blockdev("scratch", vm.scratch_path, false, !vm.remove_when_done),
                 "-device", "virtio-blk-device,drive=scratch,serial=mvm_scratch"});
  for (std::size_t i = 0; i < vm.volumes.size(); ++i) {
    const std::string node = "volume" + std::to_string(i);
    argv.insert(argv.end(),
                {"-blockdev", blockdev(node, vm.volumes[i].disk_path, false, true), "-device",
                 "virtio-blk-device,drive=" + node + ",serial=" + spec::volume_serial(i)});
  }
}

// By number, because the file has no path. Source: qemu(1), -add-fd.
void add_exchange(std::vector<std::string>& argv) {
  argv.insert(argv.end(), {"-add-fd", "set=1,fd=" + std::to_string(kExchangeFd), "-blockdev",
                           blockdev("exchange", "/dev/fdset/1", false, false), "-device",
                           "virtio-blk-device,drive=exchange,serial=mvm_exchange"});
}

void add_network(const spec::VmSpec& vm, std::vector<std::string>& argv) {
  if (vm.network.mode == spec::NetworkMode::kNone) return;
  std::string netdev = "user,id=net0,ipv6=off";
  for (const spec::PortForward& f : vm.network.forwards) {
    netdev += std::string(",hostfwd=") + (f.protocol == spec::Protocol::kUdp ? "udp:" : "tcp:") +
              f.host_ip + ":" + std::to_string(f.host_port) + "-:" + std::to_string(f.guest_port);
  }
  argv.insert(argv.end(), {"-netdev", netdev, "-device", "virtio-net-device,netdev=net0"});
}

// What only an emulated guest needs.
std::string emulation_cmdline(const spec::VmSpec& vm) {
  // The guest's own side-channel mitigations cost time and protect nothing here. Pages that are
  // filled at once are not cleared first: an emulated copy takes as long again (exec and cp, a
  // tenth).
  std::string line = " mitigations=off init_on_alloc=0";
  // TCG hands the host's counter through. On a busy host the kernel's own measurement of it against
  // the emulated PIT takes a second or fails, and then the guest hangs without a clock
  // (docs/design/boot.md).
  if (vm.tsc_khz != 0) line += " tsc_early_khz=" + std::to_string(vm.tsc_khz) + " tsc=reliable";
  return line;
}

void add_streams(std::vector<std::string>& argv) {
  const auto fd = [](int number) { return ",fd=" + std::to_string(number); };
  argv.insert(
      argv.end(),
      {"-chardev", "socket,id=control" + fd(kControlFd), "-mon", "chardev=control,mode=control",
       "-chardev", "socket,id=console" + fd(kConsoleFd), "-serial", "chardev:console", "-chardev",
       "socket,id=agent" + fd(kAgentFd), "-device", "virtio-serial-device", "-device",
       "virtserialport,chardev=agent,name=mvm.agent"});
}

}  // namespace

std::string kernel_cmdline(const spec::VmSpec& vm) {
  std::string line = "console=ttyS0 quiet panic=-1 reboot=t rdinit=/init";
  // There is one serial port, no PCI bus, and nobody to read an audit log; looking for them takes
  // time.
  line += " 8250.nr_uarts=1 pci=off audit=0 lsm=landlock";
  // Self-tests of code that Debian has tested, the keys for module signatures that our initramfs
  // has none of, and grace periods that a booting single-user system need not wait for (the agent
  // ends that when it is ready).
  line +=
      " cryptomgr.notests=1 rcupdate.rcu_expedited=1"
      " initcall_blacklist=init_kprobe_trace,crypto_kdf108_init,load_system_certificate_list";
  if (!uses_kvm(vm)) line += emulation_cmdline(vm);
  if (!vm.scratch_path.empty()) line += " mvm.scratch=1";
  if (!vm.cmdline_extra.empty()) line += " " + vm.cmdline_extra;
  return line;
}

Result<LaunchPlan> plan(const spec::VmSpec& vm) {
  if (vm.arch != spec::Arch::kX86_64)
    return Error(Errc::kUnsupported, "the qemu backend has no machine for aarch64 guests yet")
        .with_hint("use an x86_64 image");
  LaunchPlan out;
  out.backend = "qemu";
  // rtc=on: without a clock chip the kernel waits two seconds for one to answer.
  out.has_control = out.has_console = out.has_exchange = true;
  out.argv = {
      vm.engine_program, "-name", "guest=" + escape(vm.name) + ",process=mvm-qemu", "-M",
      "microvm,x-option-roms=off,rtc=on", "-accel", uses_kvm(vm) ? "kvm" : "tcg,thread=multi",
      // TCG runs string instructions an element a time: without "enhanced rep movsb" Linux copies
      // words instead of bytes. Five-level page tables are one more level to walk.
      "-cpu", uses_kvm(vm) ? "host" : "max,-erms,-la57", "-smp", std::to_string(vm.limits.vcpus),
      "-m", std::to_string(vm.limits.memory.count >> 20) + "M", "-nodefaults", "-no-user-config",
      "-nographic", "-no-reboot", "-sandbox",
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", "-kernel",
      vm.kernel_path, "-initrd", vm.initramfs_path, "-append", kernel_cmdline(vm)};
  add_streams(out.argv);
  add_disks(vm, out.argv);
  add_exchange(out.argv);
  add_network(vm, out.argv);
  if (vm.network.mode == spec::NetworkMode::kUser)
    out.network = GuestNetwork{kGuestAddress, 24, kGatewayAddress, kDnsAddress};
  return out;
}

}  // namespace mvm::backend::qemu
