// SPDX-License-Identifier: Apache-2.0
#include "vmm/config/drive_config.h"

#include <algorithm>

#include "vmm/config/text_checks.h"
#include "vmm/config/vm_config.h"

namespace mvm::vmm {
namespace {

constexpr std::size_t kMaxPartuuid = 64;

// It becomes part of the kernel command line.
Result<> check_partuuid(std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
  });
  if (!text.empty() && text.size() <= kMaxPartuuid && plain) return {};
  return Error(Errc::kInvalidArgument, "The partuuid is invalid: '" + std::string(text) + "'.");
}

}  // namespace

Result<> validate(const DriveConfig& config) {
  MVM_TRY(validate_id(config.drive_id));
  MVM_TRY(check_path("path_on_host", config.path_on_host));
  if (config.partuuid) MVM_TRY(check_partuuid(*config.partuuid));
  if (config.rate_limiter) MVM_TRY(validate(*config.rate_limiter, "rate_limiter"));
  return {};
}

Result<> validate(const DriveUpdate& update) {
  MVM_TRY(validate_id(update.drive_id));
  if (update.path_on_host) MVM_TRY(check_path("path_on_host", *update.path_on_host));
  if (update.rate_limiter) MVM_TRY(validate(*update.rate_limiter, "rate_limiter"));
  return {};
}

Result<> insert_drive(std::vector<DriveConfig>& drives, DriveConfig drive) {
  const auto root = std::find_if(drives.begin(), drives.end(),
                                 [](const DriveConfig& other) { return other.is_root_device; });
  if (drive.is_root_device && root != drives.end() && root->drive_id != drive.drive_id)
    return Error(Errc::kInvalidArgument,
                 "A root block device already exists: '" + root->drive_id + "'.");
  const auto same = std::find_if(drives.begin(), drives.end(), [&drive](const DriveConfig& other) {
    return other.drive_id == drive.drive_id;
  });
  const bool is_root = drive.is_root_device;
  const auto place = same - drives.begin();
  if (same == drives.end())
    drives.push_back(std::move(drive));
  else
    *same = std::move(drive);
  // The kernel is told root=/dev/vda.
  if (is_root) std::rotate(drives.begin(), drives.begin() + place, drives.begin() + place + 1);
  return {};
}

}  // namespace mvm::vmm
