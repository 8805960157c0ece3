// SPDX-License-Identifier: Apache-2.0
#include "vmm/config/device_config.h"

#include "vmm/config/text_checks.h"

namespace mvm::vmm {
namespace {

constexpr std::uint32_t kFirstGuestCid = 3;  // 0 to 2 are hypervisor, loopback and host
constexpr std::uint32_t kAnyCid = UINT32_MAX;
constexpr std::size_t kPortSuffix = 11;  // "_4294967295"

}  // namespace

Result<> validate(const VsockConfig& config) {
  if (config.guest_cid < kFirstGuestCid || config.guest_cid == kAnyCid)
    return Error(Errc::kInvalidArgument, "The guest_cid " + std::to_string(config.guest_cid) +
                                             " is invalid: it must be at least 3 and not the "
                                             "wildcard 4294967295.");
  MVM_TRY(check_path("uds_path", config.uds_path));
  if (config.uds_path.size() > kMaxSocketPath - kPortSuffix)
    return Error(Errc::kInvalidArgument,
                 "The uds_path is too long: with a port behind it a unix socket's path may have " +
                     std::to_string(kMaxSocketPath) + " bytes.");
  return {};
}

Result<> validate(const EntropyConfig& config) {
  if (config.rate_limiter) return validate(*config.rate_limiter, "rate_limiter");
  return {};
}

Result<> validate(const SerialConfig& config) {
  if (config.serial_out_path) MVM_TRY(check_path("serial_out_path", *config.serial_out_path));
  if (config.rate_limiter) return validate(*config.rate_limiter, "rate_limiter");
  return {};
}

}  // namespace mvm::vmm
