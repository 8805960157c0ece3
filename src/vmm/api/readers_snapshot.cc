// SPDX-License-Identifier: Apache-2.0
// Readers of snapshot requests.
#include <limits>

#include "vmm/api/read_helpers.h"
#include "vmm/api/readers.h"

namespace mvm::vmm {
namespace {

constexpr std::string_view kSnapshotTypes[] = {"Full", "Diff"};
constexpr std::string_view kBackendTypes[] = {"File", "Uffd"};
// The first stands for no change.
constexpr std::string_view kLoadHugePages[] = {"Snapshot", "None", "Transparent", "2M"};

MemoryBackend read_backend(Fields& fields) {
  MemoryBackend backend;
  const bool legacy = fields.has("mem_file_path");
  if (legacy && fields.has("mem_backend"))
    fields.fail(Error(Errc::kInvalidArgument,
                      "too many fields: either `mem_backend` or `mem_file_path` is required, not "
                      "both"));
  if (!legacy && !fields.has("mem_backend"))
    fields.fail(Error(Errc::kInvalidArgument,
                      "missing field: either `mem_backend` or `mem_file_path` is required"));
  if (const auto path = fields.text("mem_file_path", Need::kOptional)) backend.backend_path = *path;
  std::optional<Fields> object = fields.object("mem_backend", Need::kOptional);
  if (!object) return backend;
  backend.backend_type =
      read_enum<MemoryBackendType>(*object, "backend_type", kBackendTypes, Need::kRequired)
          .value_or(MemoryBackendType::kFile);
  backend.backend_path = object->text("backend_path", Need::kRequired).value_or("");
  if (const Result<> done = object->finish(); !done) return {};  // the document's error as well
  return backend;
}

std::vector<NetworkOverride> read_network_overrides(Fields& fields) {
  std::vector<NetworkOverride> out;
  for (Fields& object : fields.objects("network_overrides", Need::kDefault)) {
    NetworkOverride& change = out.emplace_back();
    change.iface_id = object.text("iface_id", Need::kRequired).value_or("");
    change.socket_path = object.text("socket_path", Need::kOptional);
    if (const auto fd =
            object.number("socket_fd", std::numeric_limits<int>::max(), Need::kOptional))
      change.socket_fd = static_cast<int>(*fd);
    const bool extended = change.socket_path || change.socket_fd;
    change.host_dev_name =
        object.text("host_dev_name", extended ? Need::kOptional : Need::kRequired);
    if (const Result<> done = object.finish(); !done) return {};
  }
  return out;
}

std::vector<DriveOverride> read_drive_overrides(Fields& fields) {
  std::vector<DriveOverride> out;
  for (Fields& object : fields.objects("drive_overrides", Need::kDefault)) {
    DriveOverride& change = out.emplace_back();
    change.drive_id = object.text("drive_id", Need::kRequired).value_or("");
    change.path_on_host = object.text("path_on_host", Need::kRequired).value_or("");
    if (const Result<> done = object.finish(); !done) return {};
  }
  return out;
}

std::optional<std::string> read_vsock_override(Fields& fields) {
  std::optional<Fields> object = fields.object("vsock_override", Need::kOptional);
  if (!object) return std::nullopt;
  std::optional<std::string> path = object->text("uds_path", Need::kRequired);
  if (const Result<> done = object->finish(); !done) return std::nullopt;
  return path;
}

}  // namespace

Result<SnapshotCreateConfig> read_snapshot_create(Fields& fields) {
  SnapshotCreateConfig config;
  config.snapshot_type =
      read_enum<SnapshotType>(fields, "snapshot_type", kSnapshotTypes, Need::kDefault)
          .value_or(SnapshotType::kFull);
  config.snapshot_path = fields.text("snapshot_path", Need::kRequired).value_or("");
  config.mem_file_path = fields.text("mem_file_path", Need::kRequired).value_or("");
  return finished(fields, std::move(config));
}

Result<SnapshotLoadConfig> read_snapshot_load(Fields& fields) {
  SnapshotLoadConfig config;
  config.snapshot_path = fields.text("snapshot_path", Need::kRequired).value_or("");
  config.mem_backend = read_backend(fields);
  const bool diff = fields.boolean("enable_diff_snapshots", Need::kDefault).value_or(false);
  config.track_dirty_pages =
      fields.boolean("track_dirty_pages", Need::kDefault).value_or(false) || diff;
  config.resume_vm = fields.boolean("resume_vm", Need::kDefault).value_or(false);
  config.network_overrides = read_network_overrides(fields);
  config.drive_overrides = read_drive_overrides(fields);
  config.vsock_override_uds = read_vsock_override(fields);
  config.clock_realtime = fields.boolean("clock_realtime", Need::kDefault).value_or(false);
  const auto pages = fields.choice("huge_pages", kLoadHugePages, Need::kDefault).value_or(0);
  if (pages > 0) config.huge_pages = static_cast<HugePages>(pages - 1);
  return finished(fields, std::move(config));
}

}  // namespace mvm::vmm
