// SPDX-License-Identifier: Apache-2.0
// mvm-vmm against QEMU's `-M microvm -accel kvm`: same kernel, initramfs and disks, in turn, in one
// run, with the bars of the project. Needs a KVM that boots stock kernels: the lab's, or the
// host's.
//
//   bench_vmm MVMCTL [SECTION...]      boot start memory restore snapshot block net tap vsock
#include "bench_vmm.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <sstream>

#include "sys/files.h"
#include "sys/io.h"

namespace mvm::bench {

int rounds(int usual) {
  const char* given = std::getenv("MVM_BENCH_ROUNDS");
  return given != nullptr ? std::atoi(given) : usual;
}

namespace {

// Of all threads. Units: ms.
double cpu_ms(pid_t pid) {
  const bool verbose = std::getenv("MVM_BENCH_VERBOSE") != nullptr;
  double out = 0;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::istringstream text(must(sys::read_file(task.path().string() + "/schedstat")));
    double ns = 0;
    text >> ns;
    if (verbose) {
      const std::string name = must(sys::read_file(task.path().string() + "/comm"));
      std::fprintf(stderr, "%8.1f ms of CPU: %s", ns / 1e6, name.c_str());
    }
    out += ns / 1e6;
  }
  return out;
}

// What a machine takes from its launch until its agent is ready, and the CPU time of its monitor,
// the guest's included: on a busy host the steadier of the two.
struct BootTime {
  double wall;
  double cpu;
};

BootTime boot_once(const Parts& parts, EngineName engine) {
  Wanted wanted;
  wanted.engine = engine;
  std::unique_ptr<Guest> guest;
  const double wall = time_ms([&] {
    guest = std::make_unique<Guest>(parts, wanted);
    guest->wait_ready();
  });
  return {wall, cpu_ms(guest->pid())};
}

double start_once(const Parts& parts, double& wall) {
  const sys::TempDir dir = must(sys::TempDir::create(parts.work_dir, "start-"));
  sys::Child monitor;
  wall = time_ms([&] {
    monitor = start_monitor(parts, dir.path());
    const sys::UniqueFd connected = connect_when_listening(dir.path() + "/" + kApiSocket);
  });
  return cpu_ms(monitor.pid());
}

// What any static program costs here: Debian's busybox, told to do nothing.
double nothing_once() {
  sys::Command command;
  command.argv = {"/bin/busybox", "true"};
  sys::Child child = must(sys::spawn(command));
  siginfo_t ended{};
  if (::waitid(P_PID, static_cast<id_t>(child.pid()), &ended, WEXITED | WNOWAIT) != 0)
    die("waiting for busybox");
  return cpu_ms(child.pid());
}

// What is the process's own and not a mapping of the guest's RAM, which is known by its size.
// Units: MiB.
double private_mib(pid_t pid, std::uint64_t ram_mib) {
  std::istringstream text(
      must(sys::read_file("/proc/" + std::to_string(pid) + "/smaps", mebibytes(16))));
  const bool verbose = std::getenv("MVM_BENCH_VERBOSE") != nullptr;
  double total = 0;
  double here = 0;
  bool is_ram = false;
  std::string header;
  for (std::string line; std::getline(text, line);) {
    std::istringstream words(line);
    std::string key;
    double kib = 0;
    words >> key;
    if (key.back() != ':') {
      header = line;
      here = 0;
      continue;
    }
    words >> kib;
    if (key == "Size:") is_ram = kib * 2 >= static_cast<double>(ram_mib << 10);
    if (key == "Private_Clean:" || key == "Private_Dirty:") here += is_ram ? 0 : kib;
    if (key != "VmFlags:") continue;
    total += here;
    if (verbose && here >= 64) std::fprintf(stderr, "%8.0f KiB %s\n", here, header.c_str());
  }
  return total / 1024;
}

double memory_once(const Parts& parts, EngineName engine) {
  Wanted wanted;
  wanted.engine = engine;
  wanted.memory_mib = 128;
  Guest guest(parts, wanted);
  guest.wait_ready();
  return private_mib(guest.pid(), wanted.memory_mib);
}

struct Section {
  const char* name;
  void (*run)(const Parts&, Report&);
};

constexpr Section kSections[] = {
    {"boot", bench_boot},       {"start", bench_start},       {"memory", bench_memory},
    {"restore", bench_restore}, {"snapshot", bench_snapshot}, {"block", bench_block},
    {"net", bench_net},         {"tap", bench_tap},           {"vsock", bench_vsock},
};

void print_host() {
  utsname system{};
  ::uname(&system);
  const std::string load = must(sys::read_file("/proc/loadavg"));
  std::printf("host: Linux %s, %ld cpus, load %s", system.release, ::sysconf(_SC_NPROCESSORS_ONLN),
              load.c_str());
}

}  // namespace

void bench_boot(const Parts& parts, Report& report) {
  boot_once(parts, EngineName::kOurs);
  boot_once(parts, EngineName::kQemu);
  Pair cpu;
  const auto once = [&parts](EngineName engine, Samples& more) {
    const BootTime took = boot_once(parts, engine);
    more.values.push_back(took.cpu);
    return took.wall;
  };
  const Pair wall = alternate(
      rounds(12), [&] { return once(EngineName::kOurs, cpu.ours); },
      [&] { return once(EngineName::kQemu, cpu.floor); });
  report.add({.name = "launch to agent ready, 256 MiB",
              .unit = "ms",
              .ours = wall.ours,
              .floor = wall.floor,
              .floor_name = "QEMU microvm",
              .ratio_at_most = 0.8});
  report.add({.name = "of that, CPU of monitor and guest",
              .unit = "ms",
              .ours = cpu.ours,
              .floor = cpu.floor,
              .floor_name = "QEMU microvm"});
}

void bench_start(const Parts& parts, Report& report) {
  // The first ones find neither the program in memory nor, in the lab, its translation.
  double ignored = 0;
  for (int i = 0; i < 10; ++i) start_once(parts, ignored);
  Samples wall;
  const Pair cpu = alternate(
      rounds(40),
      [&] {
        double took = 0;
        const double out = start_once(parts, took);
        wall.values.push_back(took);
        return out;
      },
      nothing_once);
  report.add({.name = "start to API socket, CPU",
              .unit = "ms",
              .ours = cpu.ours,
              .floor = cpu.floor,
              .floor_name = "busybox true, static",
              .at_most = 8});
  report.add({.name = "start to API socket, wall", .unit = "ms", .ours = wall});
}

void bench_memory(const Parts& parts, Report& report) {
  const Pair pair = alternate(
      rounds(4), [&] { return memory_once(parts, EngineName::kOurs); },
      [&] { return memory_once(parts, EngineName::kQemu); });
  report.add({.name = "private memory but for RAM, 128 MiB",
              .unit = "MiB",
              .ours = pair.ours,
              .floor = pair.floor,
              .floor_name = "QEMU microvm",
              .at_most = 4});
  struct stat info{};
  if (::stat((parts.programs + "/mvm-vmm").c_str(), &info) != 0) die("mvm-vmm is not there");
  report.add({.name = "program, stripped",
              .unit = "MiB",
              .ours = {{static_cast<double>(info.st_size) / (1 << 20)}},
              .at_most = 3});
}

}  // namespace mvm::bench

int main(int argc, char** argv) {
  using namespace mvm;
  using namespace mvm::bench;
  if (argc < 2) die("usage: bench_vmm MVMCTL [SECTION...]");
  ::signal(SIGPIPE, SIG_IGN);
  const std::filesystem::path mvmctl = argv[1];
  const std::string programs = (mvmctl.parent_path().parent_path() / "libexec/mvm").string();
  const char* tmp = ::getenv("MVM_BENCH_DIR");
  const sys::TempDir work = must(sys::TempDir::create(tmp != nullptr ? tmp : "/tmp", "mvm-bench-"));
  const std::string load = must(sys::executable_dir()) + "/guest_load";
  const Parts parts = make_parts(programs, load, work.path());
  const std::vector<std::string> names(argv + 2, argv + argc);
  print_host();
  bool met = true;
  for (const Section& section : kSections) {
    const bool wanted =
        names.empty() || std::find(names.begin(), names.end(), section.name) != names.end();
    if (!wanted) continue;
    std::fprintf(stderr, "bench_vmm: %s\n", section.name);
    // A table each, so that what is measured is not lost to what fails later.
    Report report(std::string("bench_vmm ") + section.name);
    section.run(parts, report);
    met = report.finish() == 0 && met;
    std::fflush(stdout);
  }
  return met ? 0 : 1;
}
