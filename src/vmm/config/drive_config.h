// SPDX-License-Identifier: Apache-2.0
// A block device and its update.
//
// Source: Firecracker API 1.x, Drive and PartialDrive.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "vmm/config/rate_limiter_config.h"

namespace mvm::vmm {

// kUnsafe: no flush is offered to the guest. kWriteback: a flush reaches the disk.
enum class CacheType { kUnsafe, kWriteback };
enum class IoEngine { kSync, kAsync };

struct DriveConfig {
  std::string drive_id;
  std::string path_on_host;
  bool is_root_device = false;
  bool is_read_only = false;
  std::optional<std::string> partuuid;  // of a root device: root=PARTUUID=… instead of /dev/vda
  CacheType cache_type = CacheType::kUnsafe;
  IoEngine io_engine = IoEngine::kSync;
  std::optional<RateLimiterConfig> rate_limiter;

  friend bool operator==(const DriveConfig&, const DriveConfig&) = default;
};

struct DriveUpdate {
  std::string drive_id;
  std::optional<std::string> path_on_host;  // reopens the file, even when the path is the same
  std::optional<RateLimiterConfig> rate_limiter;

  friend bool operator==(const DriveUpdate&, const DriveUpdate&) = default;
};

// Errors: kInvalidArgument: id, path, partuuid, rate limiter.
Result<> validate(const DriveConfig& config);
Result<> validate(const DriveUpdate& update);

// Adds a drive, or replaces the one of the same id in its place; the root device comes first.
// Errors: kInvalidArgument when another drive is the root device already.
Result<> insert_drive(std::vector<DriveConfig>& drives, DriveConfig drive);

}  // namespace mvm::vmm
