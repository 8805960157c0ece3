// SPDX-License-Identifier: Apache-2.0
// The balloon: its configuration, updates, and what it tells about the guest's memory.
//
// Source: Firecracker API 1.x, Balloon, BalloonStats, BalloonHintingStatus; VIRTIO 1.2, 5.5.
#pragma once

#include <cstdint>
#include <optional>

#include "core/result.h"

namespace mvm::vmm {

struct BalloonConfig {
  std::uint32_t amount_mib = 0;
  bool deflate_on_oom = false;
  std::uint16_t stats_polling_interval_s = 0;  // 0: no statistics
  bool free_page_hinting = false;
  bool free_page_reporting = false;

  friend bool operator==(const BalloonConfig&, const BalloonConfig&) = default;
};

struct BalloonUpdate {
  std::uint32_t amount_mib = 0;
  friend bool operator==(const BalloonUpdate&, const BalloonUpdate&) = default;
};

// Statistics cannot be turned on or off after boot, only be had at another interval.
struct BalloonStatsUpdate {
  std::uint16_t stats_polling_interval_s = 0;
  friend bool operator==(const BalloonStatsUpdate&, const BalloonStatsUpdate&) = default;
};

// What the guest has last told; a field that it did not tell is absent.
// Units: bytes where the API says memory, otherwise counts.
struct BalloonStats {
  std::uint32_t target_pages = 0;  // of 4 KiB
  std::uint32_t actual_pages = 0;
  std::uint32_t target_mib = 0;
  std::uint32_t actual_mib = 0;
  std::optional<std::uint64_t> swap_in;
  std::optional<std::uint64_t> swap_out;
  std::optional<std::uint64_t> major_faults;
  std::optional<std::uint64_t> minor_faults;
  std::optional<std::uint64_t> free_memory;
  std::optional<std::uint64_t> total_memory;
  std::optional<std::uint64_t> available_memory;
  std::optional<std::uint64_t> disk_caches;
  std::optional<std::uint64_t> hugetlb_allocations;
  std::optional<std::uint64_t> hugetlb_failures;
  std::optional<std::uint64_t> oom_kill;
  std::optional<std::uint64_t> alloc_stall;
  std::optional<std::uint64_t> async_scan;
  std::optional<std::uint64_t> direct_scan;
  std::optional<std::uint64_t> async_reclaim;
  std::optional<std::uint64_t> direct_reclaim;

  friend bool operator==(const BalloonStats&, const BalloonStats&) = default;
};

// Starts a run of free page hinting.
struct BalloonHintingStart {
  // Answers the guest's "done" by itself, so that the guest may use the pages again.
  bool acknowledge_on_stop = true;
  friend bool operator==(const BalloonHintingStart&, const BalloonHintingStart&) = default;
};

struct BalloonHintingStatus {
  std::uint32_t host_cmd = 0;
  std::optional<std::uint32_t> guest_cmd;
  friend bool operator==(const BalloonHintingStatus&, const BalloonHintingStatus&) = default;
};

// Errors: kInvalidArgument when the balloon would be larger than the machine.
Result<> validate_balloon_size(std::uint32_t amount_mib, std::uint64_t mem_size_mib);

// `now` with another interval. Errors: kInvalidArgument when statistics would be turned on or off.
Result<BalloonConfig> apply(const BalloonStatsUpdate& update, BalloonConfig now);

}  // namespace mvm::vmm
