// SPDX-License-Identifier: Apache-2.0
// From the fields of a JSON object to each resource. The API's bodies and the sections of a
// configuration file are the same objects.
//
// Each reader finishes its object and validates what it has read. Errors: kInvalidArgument;
// kUnsupported for what only Firecracker can do.
#pragma once

#include "core/result.h"
#include "vmm/api/fields.h"
#include "vmm/config/vm_config.h"

namespace mvm::vmm {

Result<MachineConfig> read_machine_config(Fields& fields);
Result<MachineConfigUpdate> read_machine_update(Fields& fields);
Result<BootSourceConfig> read_boot_source(Fields& fields);
Result<DriveConfig> read_drive(Fields& fields);
Result<DriveUpdate> read_drive_update(Fields& fields);
Result<NetworkConfig> read_network(Fields& fields);
Result<NetworkUpdate> read_network_update(Fields& fields);
Result<VsockConfig> read_vsock(Fields& fields);
Result<EntropyConfig> read_entropy(Fields& fields);
Result<SerialConfig> read_serial(Fields& fields);
Result<BalloonConfig> read_balloon(Fields& fields);
Result<LoggerConfig> read_logger(Fields& fields);
Result<MetricsConfig> read_metrics(Fields& fields);
Result<MmdsConfig> read_mmds_config(Fields& fields);
Result<SnapshotCreateConfig> read_snapshot_create(Fields& fields);
Result<SnapshotLoadConfig> read_snapshot_load(Fields& fields);

}  // namespace mvm::vmm
