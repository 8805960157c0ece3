// SPDX-License-Identifier: Apache-2.0
// Everything that is configured of a machine, and what a monitor says of itself.
//
//                 InstanceStart, snapshot load with resume
//   not started ─────────────────────────────────────────▶ running ◀──▶ paused
//        └─────────────────────── snapshot load ──────────────────────────▲
//
// Source: Firecracker API 1.x, FullVmConfiguration and InstanceInfo.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "vmm/config/balloon_config.h"
#include "vmm/config/device_config.h"
#include "vmm/config/drive_config.h"
#include "vmm/config/machine_config.h"
#include "vmm/config/mmds_config.h"
#include "vmm/config/network_config.h"
#include "vmm/config/observe_config.h"
#include "vmm/config/snapshot_config.h"

namespace mvm::vmm {

enum class VmState { kNotStarted, kRunning, kPaused };

// "Not started", "Running", "Paused".
std::string_view vm_state_name(VmState state);

struct InstanceInfo {
  std::string id;
  VmState state = VmState::kNotStarted;
  std::string vmm_version;
  std::string app_name;
  friend bool operator==(const InstanceInfo&, const InstanceInfo&) = default;
};

struct VmConfig {
  MachineConfig machine;
  std::optional<BootSourceConfig> boot_source;
  std::vector<DriveConfig> drives;
  std::vector<NetworkConfig> network_interfaces;
  std::optional<VsockConfig> vsock;
  std::optional<EntropyConfig> entropy;
  std::optional<BalloonConfig> balloon;
  std::optional<SerialConfig> serial;
  std::optional<LoggerConfig> logger;
  std::optional<MetricsConfig> metrics;
  std::optional<MmdsConfig> mmds;

  friend bool operator==(const VmConfig&, const VmConfig&) = default;
};

// Ids of drives and interfaces: letters, digits and underscores. Errors: kInvalidArgument.
Result<> validate_id(std::string_view id);
// Ids of instances (--id): letters, digits and hyphens, 1 to 64. Errors: kInvalidArgument.
Result<> validate_instance_id(std::string_view id);

}  // namespace mvm::vmm
