// SPDX-License-Identifier: Apache-2.0
// The devices of which a machine has at most one and that need few words: vsock, entropy, serial.
//
// Source: Firecracker API 1.x, Vsock, EntropyDevice and SerialDevice.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/result.h"
#include "vmm/config/rate_limiter_config.h"

namespace mvm::vmm {

struct VsockConfig {
  std::uint32_t guest_cid = 0;
  std::string uds_path;  // listens here; guest connections go to uds_path + "_" + port

  friend bool operator==(const VsockConfig&, const VsockConfig&) = default;
};

struct EntropyConfig {
  std::optional<RateLimiterConfig> rate_limiter;

  friend bool operator==(const EntropyConfig&, const EntropyConfig&) = default;
};

struct SerialConfig {
  std::optional<std::string> serial_out_path;  // nothing: the monitor's own stdout
  // What is above the rate is dropped and counted.
  std::optional<TokenBucketConfig> rate_limiter;

  friend bool operator==(const SerialConfig&, const SerialConfig&) = default;
};

// Errors: kInvalidArgument: a context id below 3 or the wildcard, a path that is empty or too long
// for a unix socket with a port behind it.
Result<> validate(const VsockConfig& config);
Result<> validate(const EntropyConfig& config);
Result<> validate(const SerialConfig& config);

}  // namespace mvm::vmm
