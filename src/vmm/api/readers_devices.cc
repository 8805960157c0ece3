// SPDX-License-Identifier: Apache-2.0
// Readers of devices.
#include <limits>

#include "vmm/api/read_helpers.h"
#include "vmm/api/readers.h"

namespace mvm::vmm {
namespace {

std::optional<int> read_descriptor(Fields& fields) {
  const auto value = fields.number("socket_fd", std::numeric_limits<int>::max(), Need::kOptional);
  if (!value) return std::nullopt;
  return static_cast<int>(*value);
}

}  // namespace

std::optional<TokenBucketConfig> read_bucket(Fields& fields, std::string_view name) {
  std::optional<Fields> object = fields.object(name, Need::kOptional);
  if (!object) return std::nullopt;
  TokenBucketConfig bucket;
  bucket.size = read_number<std::uint64_t>(*object, "size", Need::kRequired).value_or(0);
  bucket.one_time_burst = read_number<std::uint64_t>(*object, "one_time_burst", Need::kOptional);
  bucket.refill_time_ms =
      read_number<std::uint64_t>(*object, "refill_time", Need::kRequired).value_or(0);
  // An error of it is also the document's.
  if (const Result<> done = object->finish(); !done) return std::nullopt;
  return bucket;
}

std::optional<RateLimiterConfig> read_limiter(Fields& fields, std::string_view name) {
  std::optional<Fields> object = fields.object(name, Need::kOptional);
  if (!object) return std::nullopt;
  RateLimiterConfig limiter;
  limiter.bandwidth = read_bucket(*object, "bandwidth");
  limiter.ops = read_bucket(*object, "ops");
  if (const Result<> done = object->finish(); !done) return std::nullopt;
  return limiter;
}

Result<DriveConfig> read_drive(Fields& fields) {
  DriveConfig config;
  config.drive_id = fields.text("drive_id", Need::kRequired).value_or("");
  config.is_root_device = fields.boolean("is_root_device", Need::kRequired).value_or(false);
  if (fields.text("socket", Need::kOptional))
    fields.fail(Error(Errc::kUnsupported, "vhost-user-block drives (`socket`) are not supported."));
  config.path_on_host = fields.text("path_on_host", Need::kRequired).value_or("");
  config.is_read_only = fields.boolean("is_read_only", Need::kOptional).value_or(false);
  config.partuuid = fields.text("partuuid", Need::kOptional);
  config.cache_type = read_enum<CacheType>(fields, "cache_type", kCacheTypeNames, Need::kDefault)
                          .value_or(CacheType::kUnsafe);
  config.io_engine = read_enum<IoEngine>(fields, "io_engine", kIoEngineNames, Need::kOptional)
                         .value_or(IoEngine::kSync);
  config.rate_limiter = read_limiter(fields, "rate_limiter");
  return finished(fields, std::move(config));
}

Result<DriveUpdate> read_drive_update(Fields& fields) {
  DriveUpdate update;
  update.drive_id = fields.text("drive_id", Need::kRequired).value_or("");
  update.path_on_host = fields.text("path_on_host", Need::kOptional);
  update.rate_limiter = read_limiter(fields, "rate_limiter");
  return finished(fields, std::move(update));
}

Result<NetworkConfig> read_network(Fields& fields) {
  NetworkConfig config;
  config.iface_id = fields.text("iface_id", Need::kRequired).value_or("");
  config.socket_path = fields.text("socket_path", Need::kOptional);
  config.socket_fd = read_descriptor(fields);
  const bool extended = config.socket_path || config.socket_fd;
  config.host_dev_name = fields.text("host_dev_name", extended ? Need::kOptional : Need::kRequired);
  if (const auto mac = fields.text("guest_mac", Need::kOptional)) {
    const Result<MacAddress> parsed = parse_mac(*mac);
    if (parsed)
      config.guest_mac = *parsed;
    else
      fields.fail(parsed.error());
  }
  config.mtu = read_number<std::uint16_t>(fields, "mtu", Need::kOptional);
  config.rx_rate_limiter = read_limiter(fields, "rx_rate_limiter");
  config.tx_rate_limiter = read_limiter(fields, "tx_rate_limiter");
  return finished(fields, std::move(config));
}

Result<NetworkUpdate> read_network_update(Fields& fields) {
  NetworkUpdate update;
  update.iface_id = fields.text("iface_id", Need::kRequired).value_or("");
  update.rx_rate_limiter = read_limiter(fields, "rx_rate_limiter");
  update.tx_rate_limiter = read_limiter(fields, "tx_rate_limiter");
  return finished(fields, std::move(update));
}

Result<VsockConfig> read_vsock(Fields& fields) {
  VsockConfig config;
  fields.text("vsock_id", Need::kOptional);  // deprecated, without a meaning
  config.guest_cid = read_number<std::uint32_t>(fields, "guest_cid", Need::kRequired).value_or(0);
  config.uds_path = fields.text("uds_path", Need::kRequired).value_or("");
  return finished(fields, std::move(config));
}

Result<EntropyConfig> read_entropy(Fields& fields) {
  EntropyConfig config;
  config.rate_limiter = read_limiter(fields, "rate_limiter");
  return finished(fields, config);
}

Result<SerialConfig> read_serial(Fields& fields) {
  SerialConfig config;
  config.serial_out_path = fields.text("serial_out_path", Need::kOptional);
  config.rate_limiter = read_bucket(fields, "rate_limiter");
  return finished(fields, std::move(config));
}

Result<BalloonConfig> read_balloon(Fields& fields) {
  BalloonConfig config;
  config.amount_mib = read_number<std::uint32_t>(fields, "amount_mib", Need::kRequired).value_or(0);
  config.deflate_on_oom = fields.boolean("deflate_on_oom", Need::kRequired).value_or(false);
  config.stats_polling_interval_s =
      read_number<std::uint16_t>(fields, "stats_polling_interval_s", Need::kDefault).value_or(0);
  config.free_page_hinting = fields.boolean("free_page_hinting", Need::kDefault).value_or(false);
  config.free_page_reporting =
      fields.boolean("free_page_reporting", Need::kDefault).value_or(false);
  MVM_TRY(fields.finish());
  return config;
}

}  // namespace mvm::vmm
