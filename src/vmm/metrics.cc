// SPDX-License-Identifier: Apache-2.0
#include "vmm/metrics.h"

#include <fcntl.h>

#include <nlohmann/json.hpp>

#include "sys/io.h"
#include "vmm/balloon/balloon_device.h"
#include "vmm/block/block_device.h"
#include "vmm/entropy/entropy_device.h"
#include "vmm/net/net_device.h"
#include "vmm/vsock/vsock_device.h"

namespace mvm::vmm {
namespace {

using nlohmann::json;

json of(const BlockDevice& device) {
  const BlockCounters& c = device.counters();
  return {{"read_count", c.reads},
          {"write_count", c.writes},
          {"flush_count", c.flushes},
          {"discard_count", c.discards},
          {"write_zeroes_count", c.zeroes},
          {"read_bytes", c.read_bytes},
          {"write_bytes", c.write_bytes},
          {"execute_fails", c.io_errors},
          {"invalid_reqs_count", c.bad_requests},
          {"rate_limiter_throttled_events", c.throttled}};
}

json of(const NetDevice& device) {
  const NetStats& s = device.stats();
  return {{"rx_packets_count", s.rx_frames},
          {"rx_bytes_count", s.rx_bytes},
          {"rx_fails", s.rx_dropped},
          {"rx_rate_limiter_throttled", s.rx_limited},
          {"no_rx_avail_buffer", s.rx_no_buffer},
          {"tx_packets_count", s.tx_frames},
          {"tx_bytes_count", s.tx_bytes},
          {"tx_fails", s.tx_dropped},
          {"tx_rate_limiter_throttled", s.tx_limited},
          {"tx_blocked", s.tx_blocked},
          {"mmds_frames", s.mmds_frames}};
}

json of(const BalloonDevice& device) {
  const BalloonCounters& c = device.counters();
  return {{"inflate_pages", c.inflated_pages},
          {"deflate_pages", c.deflated_pages},
          {"free_page_report_bytes", c.reported_bytes},
          {"stats_updates_count", c.stats_updates},
          {"free_page_report_fails", c.release_failures}};
}

json of(const EntropyDevice& device) {
  const EntropyDevice::Counters& c = device.counters();
  return {{"entropy_event_count", c.requests},
          {"entropy_bytes", c.bytes},
          {"entropy_rate_limiter_throttled", c.throttled},
          {"host_rng_fails", c.failures}};
}

json of(VirtioDevice& device) {
  switch (device.type()) {
    case DeviceType::kBlock:
      return of(static_cast<const BlockDevice&>(device));
    case DeviceType::kNet:
      return of(static_cast<const NetDevice&>(device));
    case DeviceType::kBalloon:
      return of(static_cast<const BalloonDevice&>(device));
    case DeviceType::kEntropy:
      return of(static_cast<const EntropyDevice&>(device));
    case DeviceType::kVsock:
      return {{"connections", static_cast<const VsockDevice&>(device).connections()}};
    case DeviceType::kConsole:
      break;
  }
  return json::object();
}

}  // namespace

Result<MetricsFile> MetricsFile::open(const MetricsConfig& config, const std::string& id) {
  sys::UniqueFd fd =
      MVM_TRY(sys::open_file(config.metrics_path, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK, 0600));
  return MetricsFile(std::move(fd), config, id);
}

Result<> MetricsFile::write(const DeviceSet* devices) const {
  json line = {{"utc_timestamp_ms", unix_time_ms()}};
  if (config_.emit_id) line["id"] = id_;
  for (const auto& [name, value] : config_.properties) line["properties"][name] = value;
  if (devices != nullptr) {
    for (const auto& transport : devices->transports())
      transport->with_device([&](VirtioDevice& device) { line[transport->name()] = of(device); });
  }
  return sys::write_full(fd_.get(), line.dump() + "\n");
}

}  // namespace mvm::vmm
