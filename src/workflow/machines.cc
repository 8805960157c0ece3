// SPDX-License-Identifier: Apache-2.0
#include "workflow/machines.h"

#include <set>

#include "core/log.h"
#include "supervisor/launch.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/socket.h"
#include "workflow/containers.h"

namespace mvm::workflow {
namespace {

std::string lock_path(const store::Layout& layout, const store::VmRecord& record) {
  return layout.vm_run_dir(record.id) + "/lock";
}

// Both directories and the record, in the order in which a kill in between leaves something that is
// found again.
Result<> remove_all(const store::Layout& layout, store::Catalog& catalog,
                    const store::VmRecord& record) {
  MVM_TRY(sys::remove_tree(layout.vm_dir(record.id)));
  auto gone = catalog.remove_vm(record.id);
  if (!gone && gone.error().code() != Errc::kNotFound) return gone.error();
  return sys::remove_tree(layout.vm_run_dir(record.id));
}

// Takes the lock of a machine that nobody runs, so that nobody starts to while it is being removed.
Result<> remove_locked(const store::Layout& layout, store::Catalog& catalog,
                       const store::VmRecord& record) {
  const std::string path = lock_path(layout, record);
  auto lock = sys::FileLock::try_acquire(path);
  if (lock && !*lock)
    return Error(Errc::kBusy, "machine '" + record.name + "' is running")
        .with_hint("mvmctl stop " + record.name);
  // Without a run directory (the host was rebooted) there is nothing that could hold it.
  if (!lock && lock.error().code() != Errc::kNotFound) return lock.error();
  return remove_all(layout, catalog, record);
}

std::string state_name(const Machine& machine) {
  const bool over = machine.status.phase == wire::VmPhase::kStopped ||
                    machine.status.phase == wire::VmPhase::kFailed;
  if (machine.alive || over) return std::string(supervisor::phase_name(machine.status.phase));
  return "crashed";
}

}  // namespace

Result<Machine> observe(const store::Layout& layout, store::VmRecord record) {
  Machine out;
  out.alive = MVM_TRY(sys::FileLock::is_held(lock_path(layout, record)));
  // A status file that is missing or broken leaves the phase "starting".
  if (auto status = supervisor::read_status(layout.vm_dir(record.id)))
    out.status = std::move(*status);
  out.record = std::move(record);
  out.state = state_name(out);
  if (out.state == "crashed") {
    out.status.message =
        "its supervisor ended without a word: it was killed, or the host went down";
    out.status.hint = "mvmctl rm " + out.record.name;
  }
  return out;
}

namespace {

// Directories of machines that no record names: a command was killed while it made or removed one.
// Whoever makes a machine holds the images lock until the record is there, so alone with that lock
// nothing is taken from anybody.
void sweep_orphans(const store::Layout& layout, const std::vector<store::VmRecord>& records) {
  std::set<std::string, std::less<>> known;
  for (const store::VmRecord& record : records) known.insert(record.id);
  std::set<std::string> orphans;
  for (const std::string& root : {layout.run_dir + "/vms", layout.vms_dir()}) {
    for (const std::string& path : sys::children(root)) {
      std::string id = path.substr(root.size() + 1);
      if (!known.contains(id)) orphans.insert(std::move(id));
    }
  }
  if (orphans.empty()) return;
  const auto alone = sys::FileLock::try_acquire(layout.images_lock_path());
  if (!alone || !*alone) return;
  const auto catalog = store::Catalog::open_read_only(layout);
  if (!catalog) return;
  const auto now = catalog->list_vms();
  if (!now) return;
  for (const store::VmRecord& record : *now) orphans.erase(record.id);
  for (const std::string& id : orphans) {
    // A supervisor may still be clearing up after a command that has removed the record.
    const auto held = sys::FileLock::is_held(layout.vm_run_dir(id) + "/lock");
    if (!held || *held) continue;
    (void)sys::remove_tree(layout.vm_dir(id));
    (void)sys::remove_tree(layout.vm_run_dir(id));
  }
}

}  // namespace

Result<std::vector<Machine>> list_machines(const store::Layout& layout) {
  std::vector<store::VmRecord> records;
  {
    const store::Catalog catalog = MVM_TRY(store::Catalog::open_read_only(layout));
    records = MVM_TRY(catalog.list_vms());
  }
  sweep_orphans(layout, records);
  std::vector<Machine> out;
  std::vector<Machine> dead;
  for (store::VmRecord& record : records) {
    Machine machine = MVM_TRY(observe(layout, std::move(record)));
    const bool leftover = machine.record.removed_when_done && !machine.alive;
    (leftover ? dead : out).push_back(std::move(machine));
  }
  if (dead.empty()) return out;
  bool containers = false;
  auto catalog = store::Catalog::open(layout);
  for (const Machine& machine : dead) {
    auto removed =
        catalog ? remove_locked(layout, *catalog, machine.record) : Result<>(catalog.error());
    if (!removed) log::debug("leaving " + machine.record.name + ": " + removed.error().text());
    containers = containers || machine.record.backend == "docker";
  }
  if (containers) sweep_containers(layout);
  return out;
}

Result<Machine> find_machine(const store::Layout& layout, const std::string& name) {
  const store::Catalog catalog = MVM_TRY(store::Catalog::open_read_only(layout));
  return observe(layout, MVM_TRY(catalog.find_vm(name)));
}

Result<sys::UniqueFd> connect(const store::Layout& layout, const Machine& machine) {
  auto fd = sys::connect_unix(supervisor::control_socket(layout.vm_run_dir(machine.record.id)));
  if (fd) return std::move(*fd);
  if (fd.error().code() != Errc::kNotFound) return fd.error();
  Error error(Errc::kNotFound,
              "machine '" + machine.record.name + "' is " + machine.state +
                  (machine.status.message.empty() ? "" : ": " + machine.status.message));
  if (!machine.status.hint.empty()) return std::move(error).with_hint(machine.status.hint);
  return std::move(error).with_hint("mvmctl ls shows which machines run");
}

Result<> remove_machine(const store::Layout& layout, const Machine& machine) {
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  MVM_TRY(remove_locked(layout, catalog, machine.record));
  // While it was locked it counted as one that somebody looks after.
  if (machine.record.backend == "docker") sweep_containers(layout);
  return {};
}

}  // namespace mvm::workflow
