// SPDX-License-Identifier: Apache-2.0
// What a client of the API can ask of the machine: one struct per action. Whatever can be checked
// without the machine has been checked by the time such a value exists (parse_request.h).
//
// Source: Firecracker API 1.x.
#pragma once

#include <string>
#include <variant>

#include "core/result.h"
#include "vmm/config/vm_config.h"

namespace mvm::vmm {

// Allowed at any time.
struct GetInstanceInfo {};
struct GetVersion {};
struct GetMachineConfig {};
struct GetVmConfig {};
struct GetBalloon {};
struct GetMmds {};
// JSON text of an object, compact, without duplicate keys and not nested deeper than kMaxJsonDepth.
struct PutMmds {
  std::string json;
};
struct PatchMmds {
  std::string json;
};

// Before the machine is started.
struct PutMachineConfig {
  MachineConfig config;
};
struct PatchMachineConfig {
  MachineConfigUpdate update;
};
struct PutBootSource {
  BootSourceConfig config;
};
struct PutDrive {
  DriveConfig config;
};
struct PutNetwork {
  NetworkConfig config;
};
struct PutVsock {
  VsockConfig config;
};
struct PutEntropy {
  EntropyConfig config;
};
struct PutBalloon {
  BalloonConfig config;
};
struct PutLogger {
  LoggerConfig config;
};
struct PutMetrics {
  MetricsConfig config;
};
struct PutSerial {
  SerialConfig config;
};
struct PutMmdsConfig {
  MmdsConfig config;
};
struct PutSnapshotLoad {
  SnapshotLoadConfig config;
};
struct StartInstance {};

// After it is started.
struct FlushMetrics {};
struct SendCtrlAltDel {};
struct PauseVm {};
struct ResumeVm {};
struct PatchDrive {
  DriveUpdate update;
};
struct PatchNetwork {
  NetworkUpdate update;
};
struct PatchBalloon {
  BalloonUpdate update;
};
struct GetBalloonStats {};
struct PatchBalloonStats {
  BalloonStatsUpdate update;
};
struct StartBalloonHinting {
  BalloonHintingStart start;
};
struct GetBalloonHinting {};
struct StopBalloonHinting {};
struct PutSnapshotCreate {
  SnapshotCreateConfig config;
};

using ApiRequest =
    std::variant<GetInstanceInfo, GetVersion, GetMachineConfig, GetVmConfig, GetBalloon, GetMmds,
                 PutMmds, PatchMmds, PutMachineConfig, PatchMachineConfig, PutBootSource, PutDrive,
                 PutNetwork, PutVsock, PutEntropy, PutBalloon, PutLogger, PutMetrics, PutSerial,
                 PutMmdsConfig, PutSnapshotLoad, StartInstance, FlushMetrics, SendCtrlAltDel,
                 PauseVm, ResumeVm, PatchDrive, PatchNetwork, PatchBalloon, GetBalloonStats,
                 PatchBalloonStats, StartBalloonHinting, GetBalloonHinting, StopBalloonHinting,
                 PutSnapshotCreate>;

// Whether an action is allowed in this state of the machine. Errors: kInvalidArgument "The
// requested operation is not supported before (after) starting the microVM."
Result<> check_allowed(const ApiRequest& request, VmState state);

// After such an action a snapshot cannot be loaded any more: it configures what a snapshot brings.
bool configures_boot(const ApiRequest& request);

}  // namespace mvm::vmm
