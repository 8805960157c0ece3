// SPDX-License-Identifier: Apache-2.0
// The balloon: memory that the guest gives up when the host asks for it, and free pages that it
// reports by itself.
//
//   target ──▶ config (num_pages) ──▶ driver ──▶ inflate queue ──▶ pages go back to the host
//                                      │  └────▶ deflate queue      (they come back when touched)
//                                      ├───────▶ statistics queue: one buffer, sent round by a
//                                      timer └───────▶ reporting queue ──▶ pages go back to the
//                                      host
//
// Free page hinting is not offered: a guest may take a hinted page back before the host has seen
// the hint, so the page cannot be released safely.
//
// Source: VIRTIO 1.2, section 5.5; Firecracker API 1.x, Balloon.
// Threads: as VirtioDevice says; all that is not in VirtioDevice is called under the device's lock,
// on the I/O thread once the device is active.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string_view>

#include "vmm/balloon/page_release.h"
#include "vmm/virtio/device.h"

namespace mvm::vmm {

struct BalloonOptions {
  std::uint32_t target_mib = 0;
  bool deflate_on_oom = false;
  std::uint32_t stats_interval_s = 0;  // 0: no statistics
  bool free_page_reporting = false;
};

// Names of the statistics in the API, by tag. Source: VIRTIO 1.2, 5.5.6.3, and Linux after it.
constexpr std::array<std::string_view, 16> kBalloonStatNames = {
    "swap_in",       "swap_out",         "major_faults", "minor_faults",        "free_memory",
    "total_memory",  "available_memory", "disk_caches",  "hugetlb_allocations", "hugetlb_failures",
    "oom_kill",      "alloc_stall",      "async_scan",   "direct_scan",         "async_reclaim",
    "direct_reclaim"};

struct BalloonReport {
  std::uint32_t target_pages = 0;  // Units: 4 KiB
  std::uint32_t actual_pages = 0;
  std::uint32_t target_mib = 0;
  std::uint32_t actual_mib = 0;
  // What the guest has told last, by tag.
  std::array<std::optional<std::uint64_t>, kBalloonStatNames.size()> values;
};

struct BalloonCounters {
  std::uint64_t inflated_pages = 0, deflated_pages = 0, reported_bytes = 0;
  std::uint64_t stats_updates = 0, release_failures = 0;
};

class BalloonDevice final : public VirtioDevice {
 public:
  // Errors: kInvalidArgument for a target that no balloon can have.
  static Result<std::unique_ptr<BalloonDevice>> create(const BalloonOptions& options);

  // As they are now.
  const BalloonOptions& options() const { return options_; }
  const BalloonCounters& counters() const { return counters_; }
  // Errors: as create().
  Result<> set_target(std::uint32_t mib);
  // Asks the guest at once, too. Errors: kInvalidArgument when it would turn statistics on or off.
  Result<> set_stats_interval(std::uint32_t seconds);
  // Errors: kInvalidArgument when statistics are off.
  Result<BalloonReport> stats() const;

  DeviceType type() const override { return DeviceType::kBalloon; }
  std::uint64_t features() const override;
  std::span<const std::uint16_t> queue_sizes() const override;
  void read_config(std::uint32_t offset, std::span<std::byte> out) const override;
  void write_config(std::uint32_t offset, std::span<const std::byte> in) override;
  Result<> activate(DeviceHost& host) override;
  void notify(std::size_t queue) override;
  void reset() override;
  void save(ByteWriter& out) const override;
  Result<> restore(ByteReader& in) override;

 private:
  using Handler = Result<> (BalloonDevice::*)(const Chain&);

  explicit BalloonDevice(const BalloonOptions& options) : options_(options) {}
  void drain(std::size_t index, Handler handler);
  Result<> inflate(const Chain& chain);
  Result<> deflate(const Chain& chain);
  Result<> report(const Chain& chain);
  void take_stats();
  void parse_stats(const Chain& chain);
  void ask_for_stats();
  void schedule_stats();
  void resume_later(std::size_t index);
  void note(const Released& released);

  BalloonOptions options_;
  std::uint32_t actual_pages_ = 0;
  decltype(BalloonReport::values) values_;
  BalloonCounters counters_;

  DeviceHost* host_ = nullptr;
  std::optional<std::size_t> stats_queue_;  // their numbers, by the features accepted
  std::optional<std::size_t> reporting_queue_;
  Chain chain_;
  Chain stats_chain_;  // the driver's buffer, while we hold it
  bool holds_stats_ = false;
  std::optional<DeviceHost::TimerId> stats_timer_;
  std::array<std::optional<DeviceHost::TimerId>, 4> resume_timers_;  // by queue
};

}  // namespace mvm::vmm
