// SPDX-License-Identifier: Apache-2.0
// The controller's snapshots: the machine's parts, its configuration and its memory, to files and
// back.
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "vmm/api/config_file.h"
#include "vmm/controller.h"
#include "vmm/snapshot/memory_writer.h"
#include "vmm/snapshot/state_file.h"

namespace mvm::vmm {
namespace {

constexpr const char* kConfigSection = "config";
constexpr std::uint32_t kSectionVersion = 1;

template <class... Calls>
struct Overloaded : Calls... {
  using Calls::operator()...;
};

MemorySource source_of(const GuestMemory& memory, bool untouched_is_zero) {
  MemorySource out;
  for (const MemoryRegion& region : memory.regions())
    out.parts.push_back({{region.start, region.size, region.file_offset}, region.host});
  out.untouched_is_zero = untouched_is_zero;
  return out;
}

// The saved configuration has the shape of a configuration file.
Result<VmConfig> config_from_json(std::string_view text) {
  VmConfig out;
  for (ApiRequest& request : MVM_TRY(parse_config_file(text))) {
    std::visit(
        Overloaded{[&](PutMachineConfig& r) { out.machine = r.config; },
                   [&](PutBootSource& r) { out.boot_source = std::move(r.config); },
                   [&](PutDrive& r) { out.drives.push_back(std::move(r.config)); },
                   [&](PutNetwork& r) { out.network_interfaces.push_back(std::move(r.config)); },
                   [&](PutVsock& r) { out.vsock = std::move(r.config); },
                   [&](PutEntropy& r) { out.entropy = r.config; },
                   [&](PutBalloon& r) { out.balloon = r.config; },
                   [&](PutSerial& r) { out.serial = std::move(r.config); },
                   [&](PutMmdsConfig& r) { out.mmds = std::move(r.config); }, [](auto&) {}},
        request);
  }
  return out;
}

// The saved configuration, with another host's files and sockets in the places that are overridden.
Result<VmConfig> saved_config(const SnapshotReader& reader) {
  const auto section = MVM_TRY(reader.section(kConfigSection, kSectionVersion));
  const std::string_view text(reinterpret_cast<const char*>(section.content.data()),
                              section.content.size());
  return config_from_json(text);
}

template <class Item>
Result<Item*> find_item(std::vector<Item>& items, std::string Item::* id, const std::string& wanted,
                        const char* what) {
  const auto it = std::ranges::find(items, wanted, id);
  if (it != items.end()) return &*it;
  return Error(Errc::kInvalidArgument,
               std::string("the snapshot has no ") + what + " '" + wanted + "'");
}

Result<> override_host_sides(const SnapshotLoadConfig& load, VmConfig& config) {
  for (const NetworkOverride& given : load.network_overrides) {
    NetworkConfig* net = MVM_TRY(find_item(config.network_interfaces, &NetworkConfig::iface_id,
                                           given.iface_id, "network interface"));
    net->host_dev_name = given.host_dev_name;
    net->socket_path = given.socket_path;
    net->socket_fd = given.socket_fd;
  }
  for (const DriveOverride& given : load.drive_overrides) {
    DriveConfig* drive =
        MVM_TRY(find_item(config.drives, &DriveConfig::drive_id, given.drive_id, "drive"));
    drive->path_on_host = given.path_on_host;
  }
  if (load.vsock_override_uds) {
    if (!config.vsock) return Error(Errc::kInvalidArgument, "the snapshot has no vsock");
    config.vsock->uds_path = *load.vsock_override_uds;
  }
  return {};
}

std::vector<SavedPart> parts_of(const SnapshotReader& reader) {
  std::vector<SavedPart> out;
  for (const std::string_view name : reader.names()) {
    const auto section = reader.find(name);
    out.push_back({std::string(name), {section->content.begin(), section->content.end()}});
  }
  return out;
}

}  // namespace

// What the logs have is kept until a snapshot has it: one that fails loses no page of the next.
Result<> VmController::collect_dirty() {
  if (!config_.machine.track_dirty_pages) return {};
  const std::vector<std::uint64_t> fresh = MVM_TRY(machine_->take_dirty());
  dirty_.resize(fresh.size());
  for (std::size_t i = 0; i < fresh.size(); ++i) dirty_[i] |= fresh[i];
  return {};
}

Result<PendingMemory> VmController::write_snapshot_memory(const SnapshotCreateConfig& create,
                                                          SnapshotId id) {
  MVM_TRY(collect_dirty());
  const MemorySource source = source_of(machine_->memory(), memory_was_blank_);
  if (create.snapshot_type == SnapshotType::kFull)
    return write_memory(create.mem_file_path, source, id);
  MemoryChanges changes;
  changes.dirty = dirty_;
  changes.parent = memory_id_;
  changes.own = memory_file_ ? &*memory_file_ : nullptr;
  return write_memory_changes(create.mem_file_path, source, changes, id);
}

Result<ApiAnswer> VmController::act(const PutSnapshotCreate& request) {
  const SnapshotCreateConfig& create = request.config;
  if (state_ != VmState::kPaused)
    return Error(Errc::kInvalidArgument,
                 "A snapshot is taken of a paused machine: PATCH /vm first.");
  if (create.snapshot_type == SnapshotType::kDiff && !config_.machine.track_dirty_pages)
    return Error(Errc::kInvalidArgument, "A diff snapshot needs a machine with track_dirty_pages.");
  const SnapshotId id = SnapshotId::random();
  SnapshotWriter state({kHostArch, "mvm-vmm " MVM_VERSION, id, machine_->memory().size()});
  const std::string config = to_json(config_);
  const auto config_bytes = std::as_bytes(std::span(config));
  MVM_TRY(state.add(kConfigSection, kSectionVersion, {config_bytes.begin(), config_bytes.end()}));
  for (SavedPart& part : MVM_TRY(machine_->save()))
    MVM_TRY(state.add(part.name, kSectionVersion, std::move(part.bytes)));
  // In this order a full disk, or a kill, leaves the files that were there, or none.
  PendingFile state_file = MVM_TRY(state.prepare(create.snapshot_path));
  PendingMemory memory = MVM_TRY(write_snapshot_memory(create, id));
  MVM_TRY(memory.commit());
  MVM_TRY(state_file.commit());
  memory_id_ = id;
  dirty_.clear();
  return ApiAnswer(NoContent{});
}

Result<GuestMemory> VmController::load_memory(const SnapshotLoadConfig& load,
                                              const SnapshotReader& reader) {
  if (load.mem_backend.backend_type == MemoryBackendType::kFile) {
    memory_file_ = MVM_TRY(MemoryFile::open_for(reader.info(), load.mem_backend.backend_path));
    return GuestMemory::map_file(memory_file_->fd(), reader.info().memory_size);
  }
  GuestMemory memory = MVM_TRY(GuestMemory::create(reader.info().memory_size));
  fault_handler_ =
      MVM_TRY(UffdBackend::connect(load.mem_backend.backend_path, source_of(memory, false).parts));
  return memory;
}

Result<ApiAnswer> VmController::act(const PutSnapshotLoad& request) {
  const SnapshotLoadConfig& load = request.config;
  if (configured_)
    return Error(Errc::kInvalidArgument,
                 "A snapshot brings its own machine: load it before anything is configured.");
  const SnapshotReader reader = MVM_TRY(SnapshotReader::open(load.snapshot_path));
  VmConfig config = MVM_TRY(saved_config(reader));
  MVM_TRY(override_host_sides(load, config));
  config.machine.track_dirty_pages = load.track_dirty_pages;
  config.logger = config_.logger;
  config.metrics = config_.metrics;
  if (config.mmds)
    metadata_->configure({config.mmds->version == MmdsVersion::kV2, config.mmds->imds_compat});
  GuestMemory memory = MVM_TRY(load_memory(load, reader));
  MVM_TRY(hooks_.before_machine());
  machine_ = MVM_TRY_CTX(Machine::restore(context(), config, std::move(memory), parts_of(reader)),
                         "loading " + load.snapshot_path);
  MVM_TRY(hooks_.confine_main());
  config_ = std::move(config);
  memory_id_ = reader.info().memory_id;
  memory_was_blank_ = false;
  state_ = VmState::kPaused;
  return load.resume_vm ? act(ResumeVm{}) : Result<ApiAnswer>(ApiAnswer(NoContent{}));
}

}  // namespace mvm::vmm
