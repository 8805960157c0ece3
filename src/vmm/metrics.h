// SPDX-License-Identifier: Apache-2.0
// Metrics: what the devices have counted, as one JSON object a line in a file or pipe.
//
// Written when the API asks for it (FlushMetrics) and when the process ends. All numbers are totals
// since the machine was made. The names are in docs/design/vmm.md.
#pragma once

#include <map>
#include <string>

#include "core/result.h"
#include "sys/unique_fd.h"
#include "vmm/config/observe_config.h"
#include "vmm/machine/device_set.h"

namespace mvm::vmm {

class MetricsFile {
 public:
  // Errors: those of open.
  static Result<MetricsFile> open(const MetricsConfig& config, const std::string& id);
  // One line; `devices` may be null. Errors: those of write.
  Result<> write(const DeviceSet* devices) const;

 private:
  MetricsFile(sys::UniqueFd fd, MetricsConfig config, std::string id)
      : fd_(std::move(fd)), config_(std::move(config)), id_(std::move(id)) {}
  sys::UniqueFd fd_;
  MetricsConfig config_;
  std::string id_;
};

}  // namespace mvm::vmm
