// SPDX-License-Identifier: Apache-2.0
// The rate of this processor's time-stamp counter, which an emulated x86 guest reads unchanged.
#pragma once

#include <cstdint>
#include <string>

namespace mvm::platform {

// Measured against the monotonic clock for 20 ms. Units: kHz. 0 where there is no such counter.
std::uint32_t measure_tsc_khz();

// The same, measured once per boot of the host and remembered in `cache_dir`.
std::uint32_t tsc_khz_cached(const std::string& cache_dir);

}  // namespace mvm::platform
