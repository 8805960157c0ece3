// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/answers.h"

#include <nlohmann/json.hpp>

#include "vmm/api/read_helpers.h"

namespace mvm::vmm {
namespace {

using Json = nlohmann::json;

std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

template <class T>
void put(Json& object, const char* name, const std::optional<T>& value) {
  if (value) object[name] = *value;
}

template <class Enum, std::size_t N>
std::string_view name_of(Enum value, const std::string_view (&names)[N]) {
  return names[static_cast<std::size_t>(value)];
}

Json bucket_json(const TokenBucketConfig& bucket) {
  return {{"size", bucket.size},
          {"one_time_burst", or_null(bucket.one_time_burst)},
          {"refill_time", bucket.refill_time_ms}};
}

Json limiter_json(const std::optional<RateLimiterConfig>& limiter) {
  if (!limiter || (!limiter->bandwidth && !limiter->ops)) return nullptr;
  Json out = {{"bandwidth", nullptr}, {"ops", nullptr}};
  if (limiter->bandwidth) out["bandwidth"] = bucket_json(*limiter->bandwidth);
  if (limiter->ops) out["ops"] = bucket_json(*limiter->ops);
  return out;
}

Json machine_json(const MachineConfig& config) {
  return {{"vcpu_count", config.vcpu_count},
          {"mem_size_mib", config.mem_size_mib},
          {"smt", config.smt},
          {"track_dirty_pages", config.track_dirty_pages},
          {"huge_pages", name_of(config.huge_pages, kHugePageNames)}};
}

Json balloon_json(const BalloonConfig& config) {
  return {{"amount_mib", config.amount_mib},
          {"deflate_on_oom", config.deflate_on_oom},
          {"stats_polling_interval_s", config.stats_polling_interval_s},
          {"free_page_hinting", config.free_page_hinting},
          {"free_page_reporting", config.free_page_reporting}};
}

Json drive_json(const DriveConfig& config) {
  return {{"drive_id", config.drive_id},
          {"partuuid", or_null(config.partuuid)},
          {"is_root_device", config.is_root_device},
          {"cache_type", name_of(config.cache_type, kCacheTypeNames)},
          {"is_read_only", config.is_read_only},
          {"path_on_host", config.path_on_host},
          {"rate_limiter", limiter_json(config.rate_limiter)},
          {"io_engine", name_of(config.io_engine, kIoEngineNames)},
          {"socket", nullptr}};
}

Json network_json(const NetworkConfig& config) {
  Json out = {{"iface_id", config.iface_id},
              {"guest_mac", nullptr},
              {"mtu", or_null(config.mtu)},
              {"rx_rate_limiter", limiter_json(config.rx_rate_limiter)},
              {"tx_rate_limiter", limiter_json(config.tx_rate_limiter)}};
  if (config.guest_mac) out["guest_mac"] = format_mac(*config.guest_mac);
  put(out, "host_dev_name", config.host_dev_name);
  put(out, "socket_path", config.socket_path);
  put(out, "socket_fd", config.socket_fd);
  return out;
}

Json boot_source_json(const std::optional<BootSourceConfig>& config) {
  const BootSourceConfig source = config.value_or(BootSourceConfig{});
  return {{"kernel_image_path", source.kernel_image_path},
          {"initrd_path", or_null(source.initrd_path)},
          {"boot_args", or_null(source.boot_args)}};
}

Json mmds_json(const MmdsConfig& config) {
  Json out = {{"version", name_of(config.version, kMmdsVersionNames)},
              {"network_interfaces", config.network_interfaces},
              {"ipv4_address", format_ipv4(config.address())},
              {"imds_compat", config.imds_compat}};
  return out;
}

Json serial_json(const SerialConfig& config) {
  Json out = {{"serial_out_path", or_null(config.serial_out_path)}, {"rate_limiter", nullptr}};
  if (config.rate_limiter) out["rate_limiter"] = bucket_json(*config.rate_limiter);
  return out;
}

Json logger_json(const LoggerConfig& config) {
  Json out = {{"log_path", or_null(config.log_path)},
              {"level", nullptr},
              {"show_level", or_null(config.show_level)},
              {"show_log_origin", or_null(config.show_log_origin)},
              {"module", or_null(config.module)}};
  if (config.level) out["level"] = log_level_name(*config.level);
  return out;
}

Json metrics_json(const MetricsConfig& config) {
  Json out = {{"metrics_path", config.metrics_path}, {"emit_id", config.emit_id}};
  if (!config.properties.empty()) out["properties"] = config.properties;
  return out;
}

}  // namespace

std::string to_json(const InstanceInfo& info) {
  return text_of({{"id", info.id},
                  {"state", vm_state_name(info.state)},
                  {"vmm_version", info.vmm_version},
                  {"app_name", info.app_name}});
}

std::string to_json(const VersionAnswer& answer) {
  return text_of({{"firecracker_version", answer.version}});
}

std::string to_json(const MachineConfig& config) { return text_of(machine_json(config)); }

std::string to_json(const BalloonConfig& config) { return text_of(balloon_json(config)); }

std::string to_json(const BalloonStats& stats) {
  Json out = {{"target_pages", stats.target_pages},
              {"actual_pages", stats.actual_pages},
              {"target_mib", stats.target_mib},
              {"actual_mib", stats.actual_mib}};
  put(out, "swap_in", stats.swap_in);
  put(out, "swap_out", stats.swap_out);
  put(out, "major_faults", stats.major_faults);
  put(out, "minor_faults", stats.minor_faults);
  put(out, "free_memory", stats.free_memory);
  put(out, "total_memory", stats.total_memory);
  put(out, "available_memory", stats.available_memory);
  put(out, "disk_caches", stats.disk_caches);
  put(out, "hugetlb_allocations", stats.hugetlb_allocations);
  put(out, "hugetlb_failures", stats.hugetlb_failures);
  put(out, "oom_kill", stats.oom_kill);
  put(out, "alloc_stall", stats.alloc_stall);
  put(out, "async_scan", stats.async_scan);
  put(out, "direct_scan", stats.direct_scan);
  put(out, "async_reclaim", stats.async_reclaim);
  put(out, "direct_reclaim", stats.direct_reclaim);
  return text_of(out);
}

std::string to_json(const BalloonHintingStatus& status) {
  return text_of({{"host_cmd", status.host_cmd}, {"guest_cmd", or_null(status.guest_cmd)}});
}

std::string to_json(const MmdsAnswer& answer) {
  return answer.json.empty() || answer.json == "null" ? "{}" : answer.json;
}

std::string to_json(const VmConfig& config) {
  Json out = {{"machine-config", machine_json(config.machine)},
              {"boot-source", boot_source_json(config.boot_source)},
              {"drives", Json::array()},
              {"network-interfaces", Json::array()}};
  for (const DriveConfig& drive : config.drives) out["drives"].push_back(drive_json(drive));
  for (const NetworkConfig& network : config.network_interfaces)
    out["network-interfaces"].push_back(network_json(network));
  for (const char* absent : {"vsock", "entropy", "balloon", "mmds-config", "logger", "metrics"})
    out[absent] = nullptr;
  if (config.vsock)
    out["vsock"] = {{"guest_cid", config.vsock->guest_cid}, {"uds_path", config.vsock->uds_path}};
  if (config.entropy)
    out["entropy"] = {{"rate_limiter", limiter_json(config.entropy->rate_limiter)}};
  if (config.balloon) out["balloon"] = balloon_json(*config.balloon);
  if (config.mmds) out["mmds-config"] = mmds_json(*config.mmds);
  if (config.serial) out["serial"] = serial_json(*config.serial);
  if (config.logger) out["logger"] = logger_json(*config.logger);
  if (config.metrics) out["metrics"] = metrics_json(*config.metrics);
  return text_of(out);
}

ApiResponse fault(const std::string& message, int status) {
  return {.status = status, .body = text_of({{"fault_message", message}})};
}

bool carries_metadata(const ApiRequest& request) {
  return std::holds_alternative<PutMmds>(request) || std::holds_alternative<PatchMmds>(request);
}

ApiResponse to_response(const Result<ApiAnswer>& outcome) {
  if (!outcome) return fault(outcome.error().text());
  return std::visit(
      []<class T>(const T& answer) -> ApiResponse {
        if constexpr (std::is_same_v<T, NoContent>)
          return {};
        else
          return {.status = 200, .body = to_json(answer)};
      },
      *outcome);
}

}  // namespace mvm::vmm
