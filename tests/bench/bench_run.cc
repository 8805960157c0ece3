// SPDX-License-Identifier: Apache-2.0
// Cold `mvmctl run -- true`, from the start of the CLI to its exit, against the same boot of a bare
// engine.
#include <fcntl.h>
#include <unistd.h>

#include "bare_guest.h"
#include "bench.h"
#include "sys/files.h"
#include "sys/io.h"
#include "workflow/scratch.h"

namespace {

using namespace mvm;
using namespace mvm::bench;

constexpr int kRounds = 12;

double one_run(const std::string& mvmctl) {
  return time_ms([&] {
    sys::Command command;
    command.argv = {mvmctl, "run", "-q", "--", "true"};
    auto out = sys::run(command);
    if (!out || !out->status.ok())
      die("mvmctl run failed: " + (out ? out->err : out.error().text()));
  });
}

double one_bare(const spec::VmSpec& vm, const std::string& templates) {
  // The disk is made beforehand: it is mvm's work, not the engine's.
  ::unlink(vm.scratch_path.c_str());
  if (auto made = workflow::make_scratch({vm.scratch_path, templates, gibibytes(8), false}); !made)
    die(made.error().text());
  return time_ms([&] {
    BareGuest guest(vm);
    guest.wait_ready();
    if (guest.exec({"true"}) != 0) die("true failed");
    guest.end();
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) die("usage: bench_run MVMCTL");
  const sys::TempDir home = must(sys::TempDir::create("/tmp", "mvm-bench-"));
  spec::VmSpec vm = bare_spec(home.path());
  vm.scratch_path = home.path() + "/bare.img";
  const std::string mvmctl = argv[1];
  one_run(mvmctl);
  const Pair pair = alternate(
      kRounds, [&] { return one_run(mvmctl); },
      [&] { return one_bare(vm, home.path() + "/cache/scratch"); });
  Report report("bench_run");
  report.add({.name = "cold mvmctl run -- true",
              .unit = "ms",
              .ours = pair.ours,
              .floor = pair.floor,
              .floor_name = "bare QEMU, same kernel, initramfs and disks, until true has ended",
              .ratio_at_most = 1.20});
  report.add({.name = "mvm's own time on the host",
              .unit = "ms",
              .ours = pair.differences(),
              .at_most = 40});
  return report.finish();
}
