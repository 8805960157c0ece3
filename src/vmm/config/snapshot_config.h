// SPDX-License-Identifier: Apache-2.0
// Saving a machine to files and loading it from them.
//
// Source: Firecracker API 1.x, SnapshotCreateParams and SnapshotLoadParams.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "vmm/config/machine_config.h"

namespace mvm::vmm {

enum class SnapshotType { kFull, kDiff };

struct SnapshotCreateConfig {
  SnapshotType snapshot_type = SnapshotType::kFull;
  std::string snapshot_path;  // state of processors and devices
  std::string mem_file_path;  // memory

  friend bool operator==(const SnapshotCreateConfig&, const SnapshotCreateConfig&) = default;
};

// kFile: backend_path is the memory file. kUffd: it is the unix socket of a process that receives
// the userfaultfd and the memory's layout, and serves the guest's page faults.
enum class MemoryBackendType { kFile, kUffd };

struct MemoryBackend {
  MemoryBackendType backend_type = MemoryBackendType::kFile;
  std::string backend_path;
  friend bool operator==(const MemoryBackend&, const MemoryBackend&) = default;
};

// Another host side for an interface of the snapshot; exactly one of the three, as in
// NetworkConfig.
struct NetworkOverride {
  std::string iface_id;
  std::optional<std::string> host_dev_name;
  std::optional<std::string> socket_path;  // extension
  std::optional<int> socket_fd;            // extension
  friend bool operator==(const NetworkOverride&, const NetworkOverride&) = default;
};

// mvm's extension: another file for a drive of the snapshot.
struct DriveOverride {
  std::string drive_id;
  std::string path_on_host;
  friend bool operator==(const DriveOverride&, const DriveOverride&) = default;
};

// The deprecated `mem_file_path` and `enable_diff_snapshots` have become `mem_backend` and
// `track_dirty_pages` here.
struct SnapshotLoadConfig {
  std::string snapshot_path;
  MemoryBackend mem_backend;
  bool track_dirty_pages = false;
  bool resume_vm = false;
  std::vector<NetworkOverride> network_overrides;
  std::vector<DriveOverride> drive_overrides;     // extension
  std::optional<std::string> vsock_override_uds;  // vsock_override.uds_path
  bool clock_realtime = false;          // kvmclock advances by the time since the snapshot
  std::optional<HugePages> huge_pages;  // nothing: as in the snapshot

  friend bool operator==(const SnapshotLoadConfig&, const SnapshotLoadConfig&) = default;
};

// Errors: kInvalidArgument: empty paths, the same path twice, ids, 2M pages without kUffd.
Result<> validate(const SnapshotCreateConfig& config);
Result<> validate(const SnapshotLoadConfig& config);

}  // namespace mvm::vmm
