// SPDX-License-Identifier: Apache-2.0
// mvm-agent: pid 1 of a guest. Boots the machine in the steps listed below, then serves the host
// until it is ended.
//
// `mvm-agent --serve-fd N [--exchange-fd M]` serves the protocol on an inherited descriptor as an
// ordinary process: for tests, and to try the agent without a machine. Nothing is mounted and the
// configuration is not applied. `mvm-agent --connect SOCKET` does the same as the init of a
// container, connected to its host's socket: when that connection ends, so does the container.
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <optional>

#include "agent/boot/cmdline.h"
#include "agent/boot/configure.h"
#include "agent/boot/console.h"
#include "agent/boot/modules.h"
#include "agent/boot/mounts.h"
#include "agent/boot/network.h"
#include "agent/boot/port.h"
#include "agent/boot/seal.h"
#include "agent/serve/discard.h"
#include "agent/serve/server.h"
#include "seal/policy.h"
#include "sys/io.h"
#include "sys/socket.h"

namespace mvm::agent {
namespace {

struct Boot {
  std::uint64_t init_us = 0;
  BootOptions options;
  sys::UniqueFd initramfs;
  std::vector<ModuleEntry> modules;
  sys::UniqueFd port;
  std::optional<seal::Policy> policy;  // of a sealed machine
  std::string image_device;
  RootMounts root;
  Configured configured;
  bool network_loaded = false;
};

Result<> read_options(Boot& boot) {
  open_console();
  boot.options = parse_cmdline(MVM_TRY(sys::read_file("/proc/cmdline", kibibytes(64))));
  boot.initramfs = MVM_TRY(sys::open_file("/", O_RDONLY | O_DIRECTORY));
  boot.modules = MVM_TRY(parse_module_order(MVM_TRY(sys::read_file("/modules/order"))));
  // Many streams are many descriptors; children get limits of their own.
  const rlimit descriptors = {1048576, 1048576};
  ::setrlimit(RLIMIT_NOFILE, &descriptors);
  return {};
}

Result<> open_port(Boot& boot) {
  const std::uint32_t vsock = boot.options.vsock_port;
  boot.port = MVM_TRY(vsock != 0 ? connect_to_host(vsock) : open_agent_port());
  return {};
}

// Blocking mode: the write waits until the host has its end open, without polling.
Result<> send_frame(const Boot& boot, wire::FrameType type, std::span<const std::byte> payload) {
  std::vector<std::byte> frame;
  wire::append_frame(frame, {0, type, 0, payload});
  return sys::write_full(boot.port.get(), frame);
}

Result<> check_seal(Boot& boot) {
  auto manifest = MVM_TRY(read_seal("/seal", boot.options.signer));
  if (!manifest) return {};
  // A disk of the host could hold files over those of the image.
  if (boot.options.scratch)
    return Error(Errc::kPermission, "a sealed machine keeps its writes in memory");
  const std::string disk = MVM_TRY(find_disk("/sys/block", "mvm_root", boot.options.disks));
  boot.image_device = MVM_TRY(open_verity(disk, *manifest->verity));
  boot.policy.emplace(std::move(*manifest));
  return {};
}

Result<> mount_image(Boot& boot) {
  boot.root = MVM_TRY(mount_root({boot.options.scratch, boot.options.disks, boot.image_device}));
  return {};
}

// The initramfs is memory: what is not needed again goes. The network's modules wait for the host's
// word.
Result<> free_initramfs(Boot& boot) {
  std::vector<ModuleEntry> used;
  for (const ModuleEntry& module : boot.modules) {
    if (module.group != "net") used.push_back(module);
  }
  forget_modules(boot.initramfs.get(), used);
  ::unlinkat(boot.initramfs.get(), "init", 0);
  return {};
}

struct Step {
  const char* name;
  Result<> (*run)(Boot&);
};

constexpr std::array<Step, 10> kSteps = {{
    {"mounting /dev, /proc and /sys", [](Boot&) { return mount_early(); }},
    {"reading the boot options", read_options},
    {"loading modules", [](Boot& b) { return load_modules(b.initramfs.get(), b.modules, "boot"); }},
    {"opening the agent port", open_port},
    {"greeting the host",
     [](Boot& b) { return send_frame(b, wire::FrameType::kHello, wire::encode(our_hello())); }},
    {"checking the seal", check_seal},
    {"mounting the root file system", mount_image},
    {"entering the root file system", [](Boot&) { return enter_root(); }},
    {"freeing the initramfs", free_initramfs},
    {"starting the loopback interface", [](Boot&) { return loopback_up(); }},
}};

// pid 1 must not return: the kernel would panic. The host ends the machine.
[[noreturn]] void wait_for_the_end() {
  for (;;) ::pause();
}

[[noreturn]] void fail(const Boot& boot, const Error& error) {
  say(error.text());
  const std::string text = error.text();
  if (boot.port) [[maybe_unused]]
    const auto ignored = send_frame(boot, wire::FrameType::kFault, std::as_bytes(std::span(text)));
  wait_for_the_end();
}

void trace(const Boot& boot, const char* step) {
  if (boot.options.trace) say(std::to_string(uptime_us()) + " us " + step);
}

Result<int> configure(Boot& boot, const wire::Configure& message) {
  trace(boot, "configuration received");
  if (boot.policy) MVM_TRY(boot.policy->admit(message));
  boot.configured = MVM_TRY(apply_configure(message, [&boot]() -> Result<> {
    if (boot.network_loaded) return {};
    MVM_TRY(load_modules(boot.initramfs.get(), boot.modules, "net"));
    boot.network_loaded = true;
    return {};
  }));
  for (const wire::VolumeMount& volume : message.volumes)
    boot.root.volumes.push_back(MVM_TRY(mount_volume(volume)));
  // A machine of the other channel is not restored, so nobody will want them later.
  if (boot.network_loaded || boot.options.vsock_port == 0)
    forget_modules(boot.initramfs.get(), boot.modules);
  trace(boot, "configured");
  return boot.configured.workload_cgroup ? boot.configured.workload_cgroup.get() : -1;
}

// A process that has written, or is about to end, is left to go on until it waits or its time slice
// is over, instead of being interrupted by us at once: then there is more to send in one go.
// Source: sched(7), SCHED_BATCH. Children are ordinary again.
void yield_to_workload() {
  const sched_param none{};
  ::sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &none);
}

// Serves one host until its connection ends.
void serve_host(Boot& boot, bool hello_sent) {
  auto loop = sys::EventLoop::create();
  if (!loop) fail(boot, loop.error());
  ServerOptions options;
  options.hello_sent = hello_sent;
  options.init_us = boot.init_us;
  options.overlay = {boot.root.upper.get(), boot.root.lower.get()};
  options.open_exchange = open_exchange;
  options.configure = [&boot](const wire::Configure& message) { return configure(boot, message); };
  if (boot.policy)
    options.admit = [&boot](const wire::Open& open) { return admit(*boot.policy, open); };
  options.clock = [](std::uint64_t now_ns) {
    if (auto set = follow_clock(now_ns); !set) say(set.error().text());
  };
  options.quiesce = [&boot] { close_mounts(boot.root); };
  options.log = [](const std::string& line) { say(line); };
  Server server(*loop, std::move(boot.port), std::move(options));
  const auto end = server.run();
  if (boot.options.vsock_port != 0) discard_outputs(server.release_outputs());
  if (boot.options.vsock_port == 0 || boot.options.trace)
    say(end ? "the host has closed the channel" : end.error().text());
}

// A restored machine finds its vsock connection reset and another host listening: that one's
// configuration renews the machine's identity. Where nobody listens, the host is ending us.
[[noreturn]] void serve_guest(Boot& boot) {
  yield_to_workload();
  serve_host(boot, true);
  while (boot.options.vsock_port != 0) {
    auto port = connect_to_host(boot.options.vsock_port);
    if (!port) break;
    boot.port = std::move(*port);
    serve_host(boot, false);
  }
  wait_for_the_end();
}

[[noreturn]] void boot_guest() {
  Boot boot;
  boot.init_us = uptime_us();
  ::reboot(RB_DISABLE_CAD);
  for (const Step& step : kSteps) {
    auto done = step.run(boot);
    if (!done) fail(boot, std::move(done.error()).with_context(step.name));
    trace(boot, step.name);
  }
  serve_guest(boot);
}

int serve_descriptor(int fd, int exchange) {
  auto loop = sys::EventLoop::create();
  if (!loop) return 1;
  ServerOptions options;
  options.init_us = uptime_us();
  options.log = [](const std::string& line) { say(line); };
  if (exchange >= 0)
    options.open_exchange = [exchange] { return Result<sys::UniqueFd>(sys::UniqueFd(exchange)); };
  Server server(*loop, sys::UniqueFd(fd), std::move(options));
  const auto end = server.run();
  return end && !*end ? 0 : 1;
}

int serve_container(const char* socket) {
  // A signal that has no handler does not reach pid 1; what ends it ends the container.
  ::signal(SIGTERM, [](int) { ::_exit(128 + SIGTERM); });
  auto fd = sys::connect_unix(socket);
  if (fd) return serve_descriptor(fd->release(), -1);
  say(fd.error().text());
  return 1;
}

}  // namespace
}  // namespace mvm::agent

int main(int argc, char** argv) {
  // Buffers come and go by the hundred kilobytes. Giving them back to the kernel each time would
  // have it clear their pages anew, which in an emulated guest costs more than all copying.
  ::mallopt(M_MMAP_THRESHOLD, 16 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 4 << 20);
  if (argc == 3 && std::string_view(argv[1]) == "--serve-fd")
    return mvm::agent::serve_descriptor(std::atoi(argv[2]), -1);
  if (argc == 5 && std::string_view(argv[1]) == "--serve-fd" &&
      std::string_view(argv[3]) == "--exchange-fd")
    return mvm::agent::serve_descriptor(std::atoi(argv[2]), std::atoi(argv[4]));
  if (argc == 3 && std::string_view(argv[1]) == "--connect")
    return mvm::agent::serve_container(argv[2]);
  if (::getpid() != 1) {
    mvm::agent::say("runs as pid 1 of a guest, as mvm-agent --serve-fd N, or --connect SOCKET");
    return 64;
  }
  mvm::agent::boot_guest();
}
