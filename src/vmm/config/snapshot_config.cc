// SPDX-License-Identifier: Apache-2.0
#include "vmm/config/snapshot_config.h"

#include "vmm/config/network_config.h"
#include "vmm/config/text_checks.h"
#include "vmm/config/vm_config.h"

namespace mvm::vmm {
namespace {

Result<> check_override(const NetworkOverride& change) {
  return validate(NetworkConfig{.iface_id = change.iface_id,
                                .host_dev_name = change.host_dev_name,
                                .socket_path = change.socket_path,
                                .socket_fd = change.socket_fd,
                                .guest_mac = {},
                                .mtu = {},
                                .rx_rate_limiter = {},
                                .tx_rate_limiter = {}});
}

}  // namespace

Result<> validate(const SnapshotCreateConfig& config) {
  MVM_TRY(check_path("snapshot_path", config.snapshot_path));
  MVM_TRY(check_path("mem_file_path", config.mem_file_path));
  if (config.snapshot_path == config.mem_file_path)
    return Error(Errc::kInvalidArgument, "The snapshot_path and mem_file_path are the same file.");
  return {};
}

Result<> validate(const SnapshotLoadConfig& config) {
  MVM_TRY(check_path("snapshot_path", config.snapshot_path));
  MVM_TRY(check_path("mem_backend.backend_path", config.mem_backend.backend_path));
  for (const NetworkOverride& change : config.network_overrides) MVM_TRY(check_override(change));
  for (const DriveOverride& change : config.drive_overrides) {
    MVM_TRY(validate_id(change.drive_id));
    MVM_TRY(check_path("path_on_host", change.path_on_host));
  }
  if (config.vsock_override_uds)
    MVM_TRY(validate(VsockConfig{.guest_cid = 3, .uds_path = *config.vsock_override_uds}));
  if (config.huge_pages == HugePages::k2M &&
      config.mem_backend.backend_type != MemoryBackendType::kUffd)
    return Error(Errc::kInvalidArgument, "Huge pages of 2M need a Uffd memory backend.");
  return {};
}

}  // namespace mvm::vmm
