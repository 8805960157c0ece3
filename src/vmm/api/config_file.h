// SPDX-License-Identifier: Apache-2.0
// The file of --config-file: one JSON object whose sections are the API's bodies.
//
// Sections: logger, metrics, serial, machine-config, boot-source (required), drives,
// network-interfaces, vsock, balloon, entropy, mmds-config. Or, as mvm's extension, snapshot-load
// in the place of all that describes a machine: then nothing but logger and metrics stands beside
// it.
//
// Source: Firecracker 1.x, configuration file.
#pragma once

#include <string_view>
#include <vector>

#include "core/result.h"
#include "vmm/api/requests.h"

namespace mvm::vmm {

// The requests that configure the same machine, in an order in which they can be carried out;
// StartInstance is not among them. PutSnapshotLoad is the last, where there is one. Errors:
// kInvalidArgument, kUnsupported; they name the section.
Result<std::vector<ApiRequest>> parse_config_file(std::string_view text);

}  // namespace mvm::vmm
