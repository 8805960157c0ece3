// SPDX-License-Identifier: Apache-2.0
#include "vmm/config/balloon_config.h"

namespace mvm::vmm {

Result<> validate_balloon_size(std::uint32_t amount_mib, std::uint64_t mem_size_mib) {
  if (amount_mib <= mem_size_mib) return {};
  return Error(Errc::kInvalidArgument, "The balloon's amount_mib (" + std::to_string(amount_mib) +
                                           ") is larger than the machine's memory (" +
                                           std::to_string(mem_size_mib) + " MiB).");
}

Result<BalloonConfig> apply(const BalloonStatsUpdate& update, BalloonConfig now) {
  if ((update.stats_polling_interval_s == 0) != (now.stats_polling_interval_s == 0))
    return Error(Errc::kInvalidArgument,
                 "Statistics for the balloon device cannot be turned on or off after boot.");
  now.stats_polling_interval_s = update.stats_polling_interval_s;
  return now;
}

}  // namespace mvm::vmm
