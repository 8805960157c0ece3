// SPDX-License-Identifier: Apache-2.0
// VmSpec → command line and configuration file of firecracker or mvm-vmm. Pure.
//
// Source: Firecracker's OpenAPI description; its --config-file has the same objects under the names
// of their endpoints.
#pragma once

#include <string>

#include "backend/backend.h"
#include "backend/firecracker/firecracker.h"

namespace mvm::backend::firecracker {

// The monitor's own directory, below the machine's run_dir: its lock and the supervisor's control
// socket are not the monitor's to see.
constexpr const char* kPlace = "vmm";
// Names in it.
constexpr const char* kConfigFile = "vmm-config.json";
constexpr const char* kApiSocket = "vmm-api.sock";
constexpr const char* kMetricsFile = "vmm-metrics.json";
constexpr const char* kVsockSocket = "vsock.sock";

// The guest's context id: any above the host's (2); each monitor has a vsock of its own.
constexpr std::uint32_t kGuestCid = 3;

// Errors: kUnsupported names what the monitor lacks.
Result<LaunchPlan> plan(const spec::VmSpec& vm, Monitor monitor);

std::string kernel_cmdline(const spec::VmSpec& vm, Monitor monitor);

}  // namespace mvm::backend::firecracker
