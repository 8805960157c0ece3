// SPDX-License-Identifier: Apache-2.0
// exec on a running machine: round trip against channel + fork/exec, throughput against a raw
// virtio-serial port.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "agent_client/session.h"
#include "bare_guest.h"
#include "bench.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/random.h"
#include "sys/socket.h"

namespace {

using namespace mvm;
using namespace mvm::bench;

constexpr int kExecs = 50;
constexpr int kForks = 200;
constexpr int kTransfers = 4;
constexpr std::size_t kVolume = 256u << 20;
constexpr int kRawFd = 9;

// With stdin from and stdout to files.
void run_with_files(const std::vector<std::string>& argv, const std::string& in,
                    const std::string& out) {
  const sys::UniqueFd input = must(sys::open_file(in, O_RDONLY));
  const sys::UniqueFd output = must(sys::open_file(out, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  sys::Command command;
  command.argv = argv;
  command.fds = {{input.get(), 0}, {output.get(), 1}, {2, 2}};
  sys::Child child = must(sys::spawn(command));
  if (const auto status = must(child.wait()); !status.ok())
    die(argv[1] + " ended with " + status.text());
}

double megabytes_per_second(double ms) { return static_cast<double>(kVolume) / 1e6 / (ms / 1e3); }

// dd in the guest moves the volume over a port of its own that nothing but this program reads and
// writes.
struct RawPort {
  sys::SocketPair pair = must(sys::make_socket_pair());
  std::vector<std::string> argv() const {
    return {"-chardev", "socket,id=raw,fd=" + std::to_string(kRawFd), "-device",
            "virtserialport,chardev=raw,name=mvm.raw"};
  }
  double out_of_guest(BareGuest& guest) {
    guest.start({"dd", "if=/dev/zero", "of=/dev/vport0p2", "bs=65536",
                 "count=" + std::to_string(kVolume / 65536)});
    return time_ms([&] {
      static std::array<std::byte, 1 << 18> chunk;
      for (std::size_t done = 0; done < kVolume;)
        done += must(sys::read_some(pair.first.get(), chunk));
      guest.finish();
    });
  }
  // A cat in the guest takes everything; when the last byte is written, all but a socket's buffer
  // has been taken.
  double into_guest() {
    static std::array<std::byte, 1 << 16> chunk;
    return time_ms([&] {
      for (std::size_t done = 0; done < kVolume; done += chunk.size()) {
        if (auto sent = sys::write_full(pair.first.get(), chunk); !sent) die(sent.error().text());
      }
    });
  }
};

void add(Samples& to, const Samples& more) {
  to.values.insert(to.values.end(), more.values.begin(), more.values.end());
}

Samples speed(const std::function<void()>& work) {
  return repeat(kTransfers, [&] { return megabytes_per_second(time_ms(work)); });
}

struct Floor {
  Samples pings, forks, out, in;
};

void measure_floor(const spec::VmSpec& vm, Floor& floor) {
  RawPort raw;
  BareGuest guest(vm, raw.argv(), {{raw.pair.second.get(), kRawFd}});
  guest.wait_ready();
  add(floor.pings, repeat(kExecs, [&] { return time_ms([&] { guest.ping(); }); }));
  add(floor.forks, repeat(kTransfers, [&] {
        return time_ms([&] {
                 guest.exec({"sh", "-c",
                             "i=0; while [ $i -lt " + std::to_string(kForks) +
                                 " ]; do /bin/true; i=$((i+1)); done"});
               }) /
               kForks;
      }));
  add(floor.out, repeat(kTransfers, [&] { return megabytes_per_second(raw.out_of_guest(guest)); }));
  guest.start({"sh", "-c", "cat /dev/vport0p2 > /dev/null"});
  add(floor.in, repeat(kTransfers, [&] { return megabytes_per_second(raw.into_guest()); }));
  guest.end();
}

struct Ours {
  Samples execs, exec_out, exec_in, cp_in, cp_out;
};

void measure_ours(const std::string& mvmctl, const std::string& file, Ours& ours) {
  run_ok({mvmctl, "up", "-q", "--name", "bench", "--memory", "1G"});
  sys::ScopeGuard remove([&] { run_ok({mvmctl, "rm", "-f", "bench"}); });
  run_ok({mvmctl, "exec", "bench", "--", "true"});
  add(ours.execs, repeat(kExecs, [&] {
        return time_ms([&] { run_ok({mvmctl, "exec", "bench", "--", "true"}); });
      }));
  const std::string blocks = std::to_string(kVolume / 65536);
  add(ours.exec_out, speed([&] {
        run_with_files(
            {mvmctl, "exec", "bench", "--", "dd", "if=/dev/zero", "bs=65536", "count=" + blocks},
            "/dev/null", "/dev/null");
      }));
  add(ours.exec_in, speed([&] {
        run_with_files({mvmctl, "exec", "-i", "bench", "--", "dd", "of=/dev/null", "bs=65536"},
                       file, "/dev/null");
      }));
  // The first one has the host find memory for the guest's pages.
  run_ok({mvmctl, "cp", file, "bench:/tmp/volume"});
  add(ours.cp_in, speed([&] { run_ok({mvmctl, "cp", file, "bench:/tmp/volume"}); }));
  add(ours.cp_out, speed([&] { run_ok({mvmctl, "cp", "bench:/tmp/volume", file}); }));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) die("usage: bench_exec MVMCTL");
  const std::string mvmctl = argv[1];
  const sys::TempDir home = must(sys::TempDir::create("/tmp", "mvm-bench-"));
  spec::VmSpec vm = bare_spec(home.path());
  vm.scratch_path.clear();  // the floor's guest keeps its writes in memory; nothing here writes
  const std::string file = home.path() + "/volume";
  {
    const sys::UniqueFd fd = must(sys::open_file(file, O_RDWR | O_CREAT, 0600));
    // No zeros: tar leaves out holes.
    const std::vector<std::byte> block = sys::random_bytes(1 << 20);
    for (std::size_t done = 0; done < kVolume; done += block.size()) {
      if (auto put = sys::write_full(fd.get(), block); !put) die(put.error().text());
    }
  }
  // Engines in the order floor, ours, ours, floor; see Pair.
  Floor bare;
  Ours ours;
  measure_floor(vm, bare);
  measure_ours(mvmctl, file, ours);
  measure_ours(mvmctl, file, ours);
  measure_floor(vm, bare);

  Samples floor;
  floor.values = {bare.pings.median() + bare.forks.median()};
  Report report("bench_exec");
  report.add({.name = "round trip of the channel", .unit = "ms", .ours = bare.pings});
  report.add({.name = "fork and exec in the guest", .unit = "ms", .ours = bare.forks});
  report.add({.name = "mvmctl exec -- true",
              .unit = "ms",
              .ours = ours.execs,
              .floor = floor,
              .floor_name = "channel + fork/exec",
              .ratio_at_most = 2.0});
  report.add({.name = "exec stdout",
              .unit = "MB/s",
              .ours = ours.exec_out,
              .floor = bare.out,
              .floor_name = "raw port out of the guest",
              .ratio_at_least = 0.6});
  report.add({.name = "exec stdin",
              .unit = "MB/s",
              .ours = ours.exec_in,
              .floor = bare.in,
              .floor_name = "raw port into the guest",
              .ratio_at_least = 0.6});
  report.add({.name = "cp into the guest",
              .unit = "MB/s",
              .ours = ours.cp_in,
              .floor = bare.in,
              .floor_name = "raw port into the guest",
              .ratio_at_least = 0.6});
  report.add({.name = "cp out of the guest",
              .unit = "MB/s",
              .ours = ours.cp_out,
              .floor = bare.out,
              .floor_name = "raw port out of the guest",
              .ratio_at_least = 0.6});
  return report.finish();
}
