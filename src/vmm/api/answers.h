// SPDX-License-Identifier: Apache-2.0
// What the machine answers, and the HTTP response that it becomes.
//
//   outcome                              status  body
//   nothing to tell                      204     none
//   data                                 200     its JSON
//   error                                400     {"fault_message": TEXT}
//   metadata larger than its limit       413     {"fault_message": TEXT}
//
// Source: Firecracker API 1.x.
#pragma once

#include <string>
#include <variant>

#include "core/result.h"
#include "vmm/api/requests.h"

namespace mvm::vmm {

struct NoContent {};
struct VersionAnswer {
  std::string version;
};
// JSON text, as MMDS keeps it; empty or null when there is none, which is told as {}.
struct MmdsAnswer {
  std::string json;
};

using ApiAnswer = std::variant<NoContent, InstanceInfo, VersionAnswer, MachineConfig, VmConfig,
                               BalloonConfig, BalloonStats, BalloonHintingStatus, MmdsAnswer>;

struct ApiResponse {
  int status = 204;
  std::string body;
};

ApiResponse to_response(const Result<ApiAnswer>& outcome);
// {"fault_message": TEXT} with status 400; bytes that are not UTF-8 are replaced.
ApiResponse fault(const std::string& message, int status = 400);

// Whether a kLimit of this request is the metadata's (413).
bool carries_metadata(const ApiRequest& request);

// The JSON of each answer, as the API describes it.
std::string to_json(const InstanceInfo& info);
std::string to_json(const VersionAnswer& answer);
std::string to_json(const MachineConfig& config);
std::string to_json(const VmConfig& config);
std::string to_json(const BalloonConfig& config);
std::string to_json(const BalloonStats& stats);
std::string to_json(const BalloonHintingStatus& status);
std::string to_json(const MmdsAnswer& answer);

}  // namespace mvm::vmm
