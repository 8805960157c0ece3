// SPDX-License-Identifier: Apache-2.0
// Commands that start nothing: their whole process, against the smallest program there is.
#include <string>

#include "bench.h"
#include "platform/collect.h"
#include "platform/kvm_probe.h"
#include "spec/vm_spec_json.h"
#include "store/catalog.h"
#include "supervisor/status.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/process.h"
#include "sys/random.h"

namespace {

using namespace mvm;
using namespace mvm::bench;

constexpr int kRounds = 50;
constexpr int kMachines = 1000;
constexpr int kProbes = 20;

double one(const std::vector<std::string>& argv) {
  return time_ms([&] {
    sys::Command command;
    command.argv = argv;
    auto out = sys::run(command);
    if (!out || !out->status.ok())
      die(argv[0] + " failed: " + (out ? out->err : out.error().text()));
  });
}

// A thousand machines that have ended, as `up` and `stop` leave them.
void fill(const store::Layout& layout) {
  store::Catalog catalog = must(store::Catalog::open(layout));
  for (int i = 0; i < kMachines; ++i) {
    spec::VmSpec vm;
    vm.id = sys::random_hex(8);
    vm.name = "machine-" + std::to_string(i);
    store::VmRecord record{vm.id,  vm.name,    "busybox", std::string(64, 'a'),
                           "qemu", "emulated", 1,         spec::to_json(vm),
                           false};
    if (auto put = catalog.insert_vm(record); !put) die(put.error().text());
    if (auto made = sys::make_dirs(layout.vm_dir(vm.id)); !made) die(made.error().text());
    if (auto made = sys::make_dirs(layout.vm_run_dir(vm.id)); !made) die(made.error().text());
    if (auto lock = sys::FileLock::acquire(layout.vm_run_dir(vm.id) + "/lock"); !lock)
      die(lock.error().text());
    supervisor::Status status;
    status.phase = wire::VmPhase::kStopped;
    if (auto put = supervisor::write_status(layout.vm_dir(vm.id), status); !put)
      die(put.error().text());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) die("usage: bench_cli MVMCTL");
  const std::string mvmctl = argv[1];
  const sys::TempDir home = must(sys::TempDir::create("/tmp", "mvm-bench-"));
  ::setenv("MVM_HOME", home.path().c_str(), 1);
  fill(must(store::Layout::from_environment()));
  Report report("bench_cli");
  const auto add = [&](const std::string& name, const std::vector<std::string>& command,
                       double bar) {
    const Pair pair =
        alternate(kRounds, [&] { return one(command); }, [] { return one({"/bin/true"}); });
    report.add({.name = name,
                .unit = "ms",
                .ours = pair.ours,
                .floor = pair.floor,
                .floor_name = "/bin/true",
                .at_most = bar});
  };
  add("mvmctl version", {mvmctl, "version"}, 5);
  add("mvmctl ls with 1,000 machines", {mvmctl, "ls"}, 20);
  add("mvmctl ls --json with 1,000 machines", {mvmctl, "ls", "--json"}, 20);
  report.add({.name = "KVM probe",
              .unit = "ms",
              .ours = repeat(kProbes, [] { return time_ms([] { platform::probe_kvm(); }); }),
              .at_most = 20});
  const platform::CollectOptions options{home.path(), home.path(), ""};
  platform::collect_minimal(options);
  report.add({.name = "host facts, the probe remembered",
              .unit = "ms",
              .ours = repeat(kRounds,
                             [&] { return time_ms([&] { platform::collect_minimal(options); }); }),
              .at_most = 2});
  return report.finish();
}
