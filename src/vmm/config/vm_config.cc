// SPDX-License-Identifier: Apache-2.0
#include "vmm/config/vm_config.h"

#include <algorithm>

namespace mvm::vmm {
namespace {

constexpr std::size_t kMaxId = 64;

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

}  // namespace

std::string_view vm_state_name(VmState state) {
  switch (state) {
    case VmState::kNotStarted:
      return "Not started";
    case VmState::kRunning:
      return "Running";
    case VmState::kPaused:
      return "Paused";
  }
  return "";
}

Result<> validate_id(std::string_view id) {
  if (id.empty()) return Error(Errc::kInvalidArgument, "The ID cannot be empty.");
  if (id.size() > kMaxId)
    return Error(Errc::kInvalidArgument,
                 "The ID is longer than " + std::to_string(kMaxId) + " characters.");
  if (!std::all_of(id.begin(), id.end(), [](char c) { return is_alphanumeric(c) || c == '_'; }))
    return Error(Errc::kInvalidArgument,
                 "API Resource IDs can only contain letters, digits and underscores.");
  return {};
}

Result<> validate_instance_id(std::string_view id) {
  if (id.empty() || id.size() > kMaxId)
    return Error(Errc::kInvalidArgument, "invalid instance id: it must have 1 to " +
                                             std::to_string(kMaxId) + " characters");
  if (!std::all_of(id.begin(), id.end(), [](char c) { return is_alphanumeric(c) || c == '-'; }))
    return Error(Errc::kInvalidArgument, "invalid instance id '" + std::string(id) +
                                             "': it can only contain letters, digits and hyphens");
  return {};
}

}  // namespace mvm::vmm
