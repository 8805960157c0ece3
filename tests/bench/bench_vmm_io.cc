// SPDX-License-Identifier: Apache-2.0
// Disk, network and vsock of running machines: the load program in each guest, in turn.
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "bench_vmm.h"
#include "bench_vmm_counters.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/random.h"
#include "sys/socket.h"

namespace mvm::bench {
namespace {

constexpr int kSeconds = 2;
constexpr std::size_t kDiskMib = 512;
constexpr std::size_t kChunk = 256 << 10;
constexpr std::size_t kStreamBuffer = 4 << 20;
constexpr std::uint32_t kVsockPort = 6000;
constexpr const char* kTap = "mvmbench0";

void make_disk(const std::string& path) {
  const sys::UniqueFd fd = must(sys::open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  const auto block = sys::random_bytes(1 << 20);
  for (std::size_t i = 0; i < kDiskMib; ++i) {
    if (auto put = sys::write_full(fd.get(), block); !put) die(put.error().text());
  }
  ::fsync(fd.get());
}

double block_once(Guest& guest, const char* mode, int depth) {
  const Counters counters(guest.pid());
  const double speed = std::stod(guest.run(
      {"/tmp/load", "block", "load", mode, std::to_string(depth), std::to_string(kSeconds)}));
  counters.print(std::string(mode) + " " + std::to_string(speed) + " MB/s", kSeconds);
  return speed;
}

std::unique_ptr<Guest> start(const Parts& parts, const Wanted& wanted) {
  auto guest = std::make_unique<Guest>(parts, wanted);
  guest->wait_ready();
  guest->put_load(parts);
  return guest;
}

sys::UniqueFd accept_one(int listener) {
  pollfd ready{listener, POLLIN, 0};
  if (::poll(&ready, 1, 30'000) != 1) die("the guest does not connect");
  sys::UniqueFd out = must(sys::accept_connection(listener));
  if (auto blocking = sys::set_nonblocking(out.get(), false); !blocking)
    die(blocking.error().text());
  return out;
}

// Takes what the guest sends, to its end. Units: MB/s.
double take_all(int peer) {
  std::vector<std::byte> chunk(kChunk);
  std::size_t total = 0;
  const double ms = time_ms([&] {
    while (const std::size_t n = must(sys::read_some(peer, chunk))) total += n;
  });
  return static_cast<double>(total) / 1e3 / ms;
}

// Sends for a while, until the guest says that it has everything. Units: MB/s.
double give(int peer) {
  std::vector<std::byte> chunk(kChunk);
  std::size_t total = 0;
  const double ms = time_ms([&] {
    const Deadline end = Deadline::after(Millis(kSeconds * 1000), "the load");
    while (!end.passed()) {
      if (auto put = sys::write_full(peer, chunk); !put) die(put.error().text());
      total += chunk.size();
    }
    ::shutdown(peer, SHUT_WR);
    if (must(sys::read_some(peer, chunk)) != 1) die("the guest has not had all");
  });
  return static_cast<double>(total) / 1e3 / ms;
}

// One stream, of which the guest is told by (family, address, port).
double stream_once(Guest& guest, int listener, bool out_of_guest, const std::string& family,
                   const std::string& address, std::uint32_t port) {
  double speed = 0;
  const Counters counters(guest.pid());
  std::thread host([&] {
    const sys::UniqueFd peer = accept_one(listener);
    // As the supervisor's end has it; TCP finds its own size, and AF_VSOCK takes no notice.
    if (family != "tcp") sys::raise_send_buffer(peer.get(), kStreamBuffer);
    speed = out_of_guest ? take_all(peer.get()) : give(peer.get());
  });
  guest.run({"/tmp/load", out_of_guest ? "send" : "receive", family, address, std::to_string(port),
             std::to_string(kSeconds)});
  host.join();
  counters.print(family + (out_of_guest ? " out " : " in ") + std::to_string(speed) + " MB/s",
                 kSeconds);
  return speed;
}

void add_streams(Report& report, const std::string& name, const std::string& floor_name, bool bar,
                 const std::function<double(bool out)>& ours,
                 const std::function<double(bool out)>& floor) {
  for (const bool out : {true, false}) {
    const Pair pair = alternate(rounds(4), [&] { return ours(out); }, [&] { return floor(out); });
    Line line{.name = name + (out ? ", out of guest" : ", into guest"),
              .unit = "MB/s",
              .ours = pair.ours,
              .floor = pair.floor,
              .floor_name = floor_name};
    if (bar) line.ratio_at_least = 1.0;
    report.add(line);
  }
}

// Guests at the same place of their networks.
void compare_tcp(Report& report, Guest& ours, Guest& floor, const std::string& name,
                 const std::string& floor_name, const std::string& address, bool bar = true) {
  const sys::UniqueFd listener = must(sys::listen_tcp({"0.0.0.0", 0}));
  const std::uint16_t port = must(sys::bound_port(listener.get()));
  const auto once = [&](Guest& guest, bool out) {
    return stream_once(guest, listener.get(), out, "tcp", address, port);
  };
  add_streams(
      report, name, floor_name, bar, [&](bool out) { return once(ours, out); },
      [&](bool out) { return once(floor, out); });
}

void ip(std::vector<std::string> words) {
  sys::Command command;
  command.argv = {"ip"};
  command.argv.insert(command.argv.end(), words.begin(), words.end());
  must(sys::run_checked(command));
}

// The device belongs to one machine at a time, so each is started for its runs.
Samples tap_speed(const Parts& parts, Wanted wanted, bool out) {
  wanted.tap = kTap;
  const sys::UniqueFd listener = must(sys::listen_tcp({"0.0.0.0", 0}));
  const std::uint16_t port = must(sys::bound_port(listener.get()));
  const auto guest = start(parts, wanted);
  return repeat(rounds(4) / 2,
                [&] { return stream_once(*guest, listener.get(), out, "tcp", "10.77.0.1", port); });
}

void compare_tap(const Parts& parts, Report& report) {
  ip({"tuntap", "add", "dev", kTap, "mode", "tap", "vnet_hdr"});
  sys::ScopeGuard remove([] { ip({"link", "del", kTap}); });
  ip({"addr", "add", "10.77.0.1/24", "dev", kTap});
  ip({"link", "set", kTap, "up"});
  Wanted qemu;
  qemu.engine = EngineName::kQemu;
  Wanted vhost = qemu;
  vhost.vhost_net = true;
  const bool has_vhost = ::access("/dev/vhost-net", R_OK | W_OK) == 0;
  const auto append = [](Samples& to, const Samples& from) {
    to.values.insert(to.values.end(), from.values.begin(), from.values.end());
  };
  for (const bool out : {true, false}) {
    Samples ours, floor, in_kernel;
    // Engines in the order floor, ours, ours, floor; see Pair.
    append(floor, tap_speed(parts, qemu, out));
    append(ours, tap_speed(parts, {}, out));
    if (has_vhost) append(in_kernel, tap_speed(parts, vhost, out));
    append(ours, tap_speed(parts, {}, out));
    append(floor, tap_speed(parts, qemu, out));
    const std::string way = out ? ", out of guest" : ", into guest";
    report.add({.name = "TCP by tap" + way,
                .unit = "MB/s",
                .ours = ours,
                .floor = floor,
                .floor_name = "QEMU -netdev tap",
                .ratio_at_least = 1.0});
    if (has_vhost)
      report.add({.name = "TCP by tap" + way + ", vhost",
                  .unit = "MB/s",
                  .ours = ours,
                  .floor = in_kernel,
                  .floor_name = "QEMU -netdev tap,vhost=on (for information)"});
  }
}

sys::UniqueFd listen_host_vsock(std::uint32_t port) {
  sys::UniqueFd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const std::uint64_t room = kStreamBuffer;
  ::setsockopt(fd.get(), AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &room, sizeof room);
  ::setsockopt(fd.get(), AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &room, sizeof room);
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_ANY;
  address.svm_port = port;
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), 1) != 0)
    die(Error::from_errno("listen on vsock").text());
  return fd;
}

}  // namespace

void bench_block(const Parts& parts, Report& report) {
  Wanted wanted;
  wanted.disk = parts.work_dir + "/load-ours";
  make_disk(wanted.disk);
  const auto ours = start(parts, wanted);
  wanted.engine = EngineName::kQemu;
  wanted.disk = parts.work_dir + "/load-qemu";
  make_disk(wanted.disk);
  const auto floor = start(parts, wanted);
  for (const int depth : {1, 16}) {
    for (const char* mode : {"seq-read", "seq-write", "rand-read", "rand-write"}) {
      const Pair pair = alternate(
          rounds(4), [&] { return block_once(*ours, mode, depth); },
          [&] { return block_once(*floor, mode, depth); });
      report.add({.name = std::string("block ") + mode + ", depth " + std::to_string(depth),
                  .unit = "MB/s",
                  .ours = pair.ours,
                  .floor = pair.floor,
                  .floor_name = "QEMU virtio-blk, same cache mode",
                  .ratio_at_least = 1.0});
    }
  }
}

void bench_net(const Parts& parts, Report& report) {
  Wanted wanted;
  wanted.user_network = true;
  const auto ours = start(parts, wanted);
  wanted.engine = EngineName::kQemu;
  const auto floor = start(parts, wanted);
  compare_tcp(report, *ours, *floor, "TCP, user-mode", "QEMU -netdev user", "10.0.2.2");
}

void bench_tap(const Parts& parts, Report& report) {
  if (::geteuid() == 0) compare_tap(parts, report);
}

void bench_vsock(const Parts& parts, Report& report) {
  const auto ours = start(parts, {});
  const sys::UniqueFd listener =
      must(sys::listen_unix(ours->place() + "/vsock.sock_" + std::to_string(kVsockPort)));
  const auto once = [&](bool out) {
    return stream_once(*ours, listener.get(), out, "vsock", "2", kVsockPort);
  };
  if (::access("/dev/vhost-vsock", R_OK | W_OK) != 0) {
    for (const bool out : {true, false})
      report.add({.name = std::string("vsock stream") + (out ? ", out of guest" : ", into guest"),
                  .unit = "MB/s",
                  .ours = repeat(rounds(4), [&] { return once(out); })});
    return;
  }
  Wanted wanted;
  wanted.engine = EngineName::kQemu;
  wanted.vhost_vsock = true;
  const auto floor = start(parts, wanted);
  const sys::UniqueFd host = listen_host_vsock(kVsockPort);
  add_streams(
      report, "vsock stream", "QEMU vhost-vsock (in the host's kernel)", true, once,
      [&](bool out) { return stream_once(*floor, host.get(), out, "vsock", "2", kVsockPort); });
}

}  // namespace mvm::bench
