// SPDX-License-Identifier: Apache-2.0
#include "workflow/snapshot.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/engine_process.h"
#include "backend/registry/registry.h"
#include "spec/vm_spec_json.h"
#include "spec/words.h"
#include "store/gc.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/random.h"
#include "workflow/programs.h"
#include "workflow/start.h"

namespace mvm::workflow {
namespace {

// A disk so slow is broken.
constexpr std::uint64_t kLeastBytesPerMs = 4096;
constexpr Millis kPatience{60'000};

Result<> replace_by_copy(const std::string& path, int fd) {
  const std::string copy = path + ".copy";
  MVM_TRY(sys::copy_file(fd, copy));
  MVM_TRY(sys::sync_path(copy));
  if (::rename(copy.c_str(), path.c_str()) != 0) return Error::from_errno("rename to " + path);
  return {};
}

// A snapshot is never changed: the engine that has written it may not go on doing so. The kernel
// knows who has a file open; where it does not tell, the snapshot gets a copy.
// Source: fcntl(2), F_SETLEASE.
Result<> nobody_writes(const std::string& path, int fd) {
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
    ::fcntl(fd, F_SETLEASE, F_UNLCK);
    struct stat st;
    if (::fstat(fd, &st) == 0 && st.st_nlink == 1) return {};
    return Error(Errc::kCorrupt, path + " has got another name");
  }
  if (errno == EAGAIN)
    return Error(Errc::kCorrupt, path + " is still open for writing by the engine");
  return replace_by_copy(path, fd);
}

// Takes a file that the engine has written; it may have been another user, and it may lie: neither
// what a link points to nor anything but a file of its own becomes ours.
Result<> take_file(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return Error::from_errno("rename to " + to);
  const sys::UniqueFd fd = MVM_TRY(sys::open_file(to, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return Error::from_errno("stat " + to);
  if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
    return Error(Errc::kCorrupt, "what the engine has saved as " + to + " is no file of its own");
  if (::fchown(fd.get(), ::geteuid(), ::getegid()) != 0 || ::fchmod(fd.get(), 0600) != 0)
    return Error::from_errno("chown " + to);
  return nobody_writes(to, fd.get());
}

Result<> link_file(const std::string& from, const std::string& to) {
  if (::link(from.c_str(), to.c_str()) != 0) return Error::from_errno("link " + from);
  return {};
}

Result<> copy_disk(const std::string& from, const std::string& to) {
  const std::string frame = "copying the scratch disk to " + to;
  const sys::UniqueFd source = MVM_TRY_CTX(sys::open_file(from, O_RDONLY), frame);
  MVM_TRY_CTX(sys::copy_file(source.get(), to), frame);
  return {};
}

Result<> ask(agent_client::Client& client, wire::RequestKind kind, const spec::VmSpec& vm,
             const char* what) {
  const Millis writing{static_cast<Millis::rep>(vm.limits.memory.count / kLeastBytesPerMs)};
  MVM_TRY_CTX(client.ask({kind}, Deadline::after(kPatience + writing, what)),
              "machine '" + vm.name + "'");
  return {};
}

// The engine may write into the machine's own directory alone; from there the files are taken.
Result<> take_files(const spec::VmSpec& vm, const std::string& directory) {
  const backend::SnapshotFiles from = backend::snapshot_files(backend::saving_dir(vm));
  const backend::SnapshotFiles to = backend::snapshot_files(directory);
  MVM_TRY(take_file(from.state, to.state));
  return take_file(from.memory, to.memory);
}

// Everything that has to be done while the machine stands still.
Result<> write_files(const spec::VmSpec& vm, agent_client::Client& client,
                     const std::string& directory) {
  MVM_TRY(ask(client, wire::RequestKind::kSave, vm, "the writing of the machine's memory"));
  // What fails here lets it go on all the same.
  auto written = take_files(vm, directory);
  if (written && !vm.scratch_path.empty())
    written = copy_disk(vm.scratch_path, directory + "/" + kScratchFile);
  auto gone_on = ask(client, wire::RequestKind::kSaved, vm, "the guest's going on");
  MVM_TRY(std::move(written));
  return gone_on;
}

spec::VmSpec describe(const store::Layout& layout, const RestoreRequest& request,
                      spec::VmSpec saved) {
  spec::VmSpec vm = std::move(saved);
  set_identity(layout, vm, request.name, request.hostname);
  vm.image_path = layout.blob_path(vm.image_digest);
  if (!vm.scratch_path.empty()) vm.scratch_path = vm.data_dir + "/" + kScratchFile;
  vm.restore_dir = vm.data_dir + "/restore";
  if (request.forwards) vm.network.forwards = *request.forwards;
  set_jail(vm, request.jail);
  if (request.ttl) vm.limits.ttl = request.ttl;
  vm.remove_when_done = false;
  return vm;
}

// The files themselves are shared by name, so that the snapshot may be removed at any time.
Result<> make_disks(const std::string& snapshot, const spec::VmSpec& vm) {
  MVM_TRY(sys::make_dirs(vm.restore_dir));
  const backend::SnapshotFiles from = backend::snapshot_files(snapshot);
  const backend::SnapshotFiles to = backend::snapshot_files(vm.restore_dir);
  MVM_TRY(link_file(from.state, to.state));
  MVM_TRY(link_file(from.memory, to.memory));
  if (vm.scratch_path.empty()) return {};
  return copy_disk(snapshot + "/" + kScratchFile, vm.scratch_path);
}

}  // namespace

Result<store::SnapshotRecord> create_snapshot(
    const store::Layout& layout, const Machine& machine, agent_client::Client& client,
    std::string name, const std::function<void(const std::string&)>& on_step) {
  const spec::VmSpec vm = MVM_TRY(spec::vm_spec_from_json(machine.record.spec_json));
  const backend::Backend* engine = MVM_TRY(backend::find_backend(vm.backend));
  if (!engine->capabilities().snapshot)
    return backend::no_snapshots(vm.backend)
        .with_hint("start the machine with --backend mvm-vmm, which needs KVM");
  // Nothing checks the memory that a machine would be started from.
  if (!vm.sealed_by.empty())
    return Error(Errc::kUnsupported, "machine '" + vm.name + "' is sealed: it always boots anew")
        .with_hint("start another with: mvmctl up");
  // What a volume holds goes on after the snapshot, and its file system would be an older one's.
  if (!vm.volumes.empty())
    return Error(Errc::kUnsupported,
                 "machine '" + vm.name + "' has volumes, which no snapshot holds")
        .with_hint("start it without, or keep what matters on its own disk");
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  store::SnapshotRecord record;
  record.id = sys::random_hex(8);
  record.name =
      name.empty() ? vm.name.substr(0, 54) + "-" + record.id.substr(0, 8) : std::move(name);
  MVM_TRY(spec::check_name(record.name, "snapshot"));
  // Asked again by the insertion; here so that nobody waits for nothing.
  if (catalog.find_snapshot(record.name)) return store::snapshot_exists(record.name);
  const sys::FileLock images = MVM_TRY(store::lock_images_shared(layout));
  const std::string directory = layout.snapshot_dir(record.id);
  MVM_TRY(sys::make_dirs(directory));
  sys::ScopeGuard no_files([&] { (void)sys::remove_tree(directory); });
  on_step("writing the memory of " + vm.name);
  MVM_TRY(write_files(vm, client, directory));
  on_step("syncing");
  if (!vm.scratch_path.empty()) MVM_TRY(sys::sync_path(directory + "/" + kScratchFile));
  for (const std::string& path : {directory, layout.snapshots_dir(), layout.data_dir})
    MVM_TRY(sys::sync_path(path));
  record.vm_name = vm.name;
  record.image_ref = vm.image_ref;
  record.image_digest = vm.image_digest;
  record.saved_by = MVM_TRY(engine->saved_by(backend::snapshot_files(directory)));
  record.created_ms = unix_time_ms();
  record.spec_json = machine.record.spec_json;
  MVM_TRY(catalog.insert_snapshot(record));
  no_files.dismiss();
  return record;
}

Result<> remove_snapshot(const store::Layout& layout, const std::string& name) {
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  const store::SnapshotRecord record = MVM_TRY(catalog.find_snapshot(name));
  // The record goes first: nobody finds a snapshot whose files are half gone.
  MVM_TRY(catalog.remove_snapshot(record.id));
  return sys::remove_tree(layout.snapshot_dir(record.id));
}

Result<Created> restore(const store::Layout& layout, const RestoreRequest& request,
                        const CreateEvents& events) {
  if (!request.name.empty()) MVM_TRY(spec::check_name(request.name));
  store::Catalog catalog = MVM_TRY(store::Catalog::open(layout));
  // The image is not taken away before the machine's record is there.
  const sys::FileLock images = MVM_TRY(store::lock_images_shared(layout));
  const store::SnapshotRecord record = MVM_TRY(catalog.find_snapshot(request.snapshot));
  const std::string frame = "snapshot '" + record.name + "'";
  Created out;
  out.vm = describe(layout, request, MVM_TRY_CTX(spec::vm_spec_from_json(record.spec_json), frame));
  MVM_TRY(check_ports(out.vm.network));
  const Programs programs = MVM_TRY(find_programs());
  platform::SelectionRequest selection;
  selection.backend = out.vm.backend;
  selection.guest_arch = out.vm.arch;
  const EngineChoice choice = MVM_TRY_CTX(choose_engine(layout, programs, selection), frame);
  events.on_posture(posture_line(choice, request.jail));
  set_engine(out.vm, choice, programs);
  out.connection = MVM_TRY(start_machine(layout, catalog, programs, out.vm, {}, [&]() -> Result<> {
    auto made = make_disks(layout.snapshot_dir(record.id), out.vm);
    if (made) return {};
    // Its removal may have come in between; that says more.
    MVM_TRY(catalog.find_snapshot(record.id));
    return std::move(made).error().with_context(frame);
  }));
  return out;
}

}  // namespace mvm::workflow
