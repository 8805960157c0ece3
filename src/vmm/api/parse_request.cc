// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/parse_request.h"

#include <array>
#include <limits>
#include <string>

#include "vmm/api/fields.h"
#include "vmm/api/read_helpers.h"
#include "vmm/api/readers.h"

namespace mvm::vmm {
namespace {

// What a route's function gets.
struct Call {
  std::string_view id;  // the last part of the path, where the route has one
  std::string_view body;
};

using RouteFunction = Result<ParsedRequest> (*)(const Call&);

template <class Request>
Result<ParsedRequest> plain(const Call&) {
  return ParsedRequest{Request{}};
}

template <class Request, auto Reader>
Result<ParsedRequest> with_body(const Call& call) {
  Fields fields = MVM_TRY(Fields::parse(call.body));
  return ParsedRequest{Request{MVM_TRY(Reader(fields))}};
}

// The id is in the path and in the body's field.
template <class Request, auto Reader, auto Id>
Result<ParsedRequest> with_id(const Call& call) {
  MVM_TRY(validate_id(call.id));
  Fields fields = MVM_TRY(Fields::parse(call.body));
  auto config = MVM_TRY(Reader(fields));
  if (config.*Id != call.id)
    return Error(Errc::kInvalidArgument, "The id from the path [" + std::string(call.id) +
                                             "] does not match the id from the body [" +
                                             config.*Id + "]!");
  return ParsedRequest{Request{std::move(config)}};
}

Result<ParsedRequest> put_machine_config(const Call& call) {
  Fields fields = MVM_TRY(Fields::parse(call.body));
  const bool deprecated = fields.has("cpu_template");
  return ParsedRequest{PutMachineConfig{MVM_TRY(read_machine_config(fields))}, deprecated};
}

Result<ParsedRequest> patch_machine_config(const Call& call) {
  Fields fields = MVM_TRY(Fields::parse(call.body));
  const bool deprecated = fields.has("cpu_template");
  const MachineConfigUpdate update = MVM_TRY(read_machine_update(fields));
  if (update == MachineConfigUpdate{} && !deprecated)
    return Error(Errc::kInvalidArgument, "Empty PATCH request.");
  return ParsedRequest{PatchMachineConfig{update}, deprecated};
}

Result<ParsedRequest> put_vsock(const Call& call) {
  Fields fields = MVM_TRY(Fields::parse(call.body));
  const bool deprecated = fields.has("vsock_id");
  return ParsedRequest{PutVsock{MVM_TRY(read_vsock(fields))}, deprecated};
}

Result<ParsedRequest> put_mmds_config(const Call& call) {
  Fields fields = MVM_TRY(Fields::parse(call.body));
  MmdsConfig config = MVM_TRY(read_mmds_config(fields));
  const bool deprecated = config.version == MmdsVersion::kV1;
  return ParsedRequest{PutMmdsConfig{std::move(config)}, deprecated};
}

Result<ParsedRequest> put_snapshot_load(const Call& call) {
  Fields fields = MVM_TRY(Fields::parse(call.body));
  SnapshotLoadConfig config = MVM_TRY(read_snapshot_load(fields));
  const bool deprecated = fields.has("mem_file_path") ||
                          fields.boolean("enable_diff_snapshots", Need::kOptional).value_or(false);
  return ParsedRequest{PutSnapshotLoad{std::move(config)}, deprecated};
}

template <class Request>
Result<ParsedRequest> with_mmds_data(const Call& call) {
  return ParsedRequest{Request{MVM_TRY(normalized_object(call.body))}};
}

Result<ParsedRequest> put_action(const Call& call) {
  constexpr std::string_view kActions[] = {"FlushMetrics", "InstanceStart", "SendCtrlAltDel"};
  Fields fields = MVM_TRY(Fields::parse(call.body));
  const std::size_t action = fields.choice("action_type", kActions, Need::kRequired).value_or(0);
  MVM_TRY(fields.finish());
  if (action == 0) return ParsedRequest{FlushMetrics{}};
  if (action == 1) return ParsedRequest{StartInstance{}};
  return ParsedRequest{SendCtrlAltDel{}};
}

Result<ParsedRequest> patch_vm(const Call& call) {
  constexpr std::string_view kStates[] = {"Paused", "Resumed"};
  Fields fields = MVM_TRY(Fields::parse(call.body));
  const std::size_t state = fields.choice("state", kStates, Need::kRequired).value_or(0);
  MVM_TRY(fields.finish());
  if (state == 0) return ParsedRequest{PauseVm{}};
  return ParsedRequest{ResumeVm{}};
}

Result<ParsedRequest> patch_balloon(const Call& call) {
  Fields fields = MVM_TRY(Fields::parse(call.body));
  const auto amount = read_number<std::uint32_t>(fields, "amount_mib", Need::kRequired);
  MVM_TRY(fields.finish());
  return ParsedRequest{PatchBalloon{{.amount_mib = amount.value_or(0)}}};
}

Result<ParsedRequest> patch_balloon_stats(const Call& call) {
  Fields fields = MVM_TRY(Fields::parse(call.body));
  const auto interval =
      read_number<std::uint16_t>(fields, "stats_polling_interval_s", Need::kRequired);
  MVM_TRY(fields.finish());
  return ParsedRequest{PatchBalloonStats{{.stats_polling_interval_s = interval.value_or(0)}}};
}

Result<ParsedRequest> start_hinting(const Call& call) {
  StartBalloonHinting request;
  if (call.body.empty()) return ParsedRequest{request};
  Fields fields = MVM_TRY(Fields::parse(call.body));
  request.start.acknowledge_on_stop =
      fields.boolean("acknowledge_on_stop", Need::kDefault).value_or(true);
  MVM_TRY(fields.finish());
  return ParsedRequest{request};
}

Result<ParsedRequest> not_supported(const Call&) {
  return Error(Errc::kUnsupported, "The requested operation is not supported by this monitor.");
}

enum class Body { kNone, kRequired, kAllowed };

struct Route {
  std::string_view method;
  std::string_view path;  // ends in '/' where the id of a resource follows
  Body body;
  RouteFunction function;
};

constexpr std::array kRoutes{
    Route{"GET", "/", Body::kNone, plain<GetInstanceInfo>},
    Route{"GET", "/version", Body::kNone, plain<GetVersion>},
    Route{"GET", "/vm/config", Body::kNone, plain<GetVmConfig>},
    Route{"GET", "/machine-config", Body::kNone, plain<GetMachineConfig>},
    Route{"GET", "/balloon", Body::kNone, plain<GetBalloon>},
    Route{"GET", "/balloon/statistics", Body::kNone, plain<GetBalloonStats>},
    Route{"GET", "/balloon/hinting/status", Body::kNone, plain<GetBalloonHinting>},
    Route{"GET", "/mmds", Body::kNone, plain<GetMmds>},
    Route{"PUT", "/actions", Body::kRequired, put_action},
    Route{"PUT", "/machine-config", Body::kRequired, put_machine_config},
    Route{"PUT", "/boot-source", Body::kRequired, with_body<PutBootSource, read_boot_source>},
    Route{"PUT", "/drives/", Body::kRequired,
          with_id<PutDrive, read_drive, &DriveConfig::drive_id>},
    Route{"PUT", "/network-interfaces/", Body::kRequired,
          with_id<PutNetwork, read_network, &NetworkConfig::iface_id>},
    Route{"PUT", "/vsock", Body::kRequired, put_vsock},
    Route{"PUT", "/entropy", Body::kRequired, with_body<PutEntropy, read_entropy>},
    Route{"PUT", "/serial", Body::kRequired, with_body<PutSerial, read_serial>},
    Route{"PUT", "/balloon", Body::kRequired, with_body<PutBalloon, read_balloon>},
    Route{"PUT", "/logger", Body::kRequired, with_body<PutLogger, read_logger>},
    Route{"PUT", "/metrics", Body::kRequired, with_body<PutMetrics, read_metrics>},
    Route{"PUT", "/mmds", Body::kRequired, with_mmds_data<PutMmds>},
    Route{"PUT", "/mmds/config", Body::kRequired, put_mmds_config},
    Route{"PUT", "/snapshot/create", Body::kRequired,
          with_body<PutSnapshotCreate, read_snapshot_create>},
    Route{"PUT", "/snapshot/load", Body::kRequired, put_snapshot_load},
    Route{"PATCH", "/machine-config", Body::kRequired, patch_machine_config},
    Route{"PATCH", "/drives/", Body::kRequired,
          with_id<PatchDrive, read_drive_update, &DriveUpdate::drive_id>},
    Route{"PATCH", "/network-interfaces/", Body::kRequired,
          with_id<PatchNetwork, read_network_update, &NetworkUpdate::iface_id>},
    Route{"PATCH", "/vm", Body::kRequired, patch_vm},
    Route{"PATCH", "/balloon", Body::kRequired, patch_balloon},
    Route{"PATCH", "/balloon/statistics", Body::kRequired, patch_balloon_stats},
    Route{"PATCH", "/balloon/hinting/start", Body::kAllowed, start_hinting},
    Route{"PATCH", "/balloon/hinting/stop", Body::kAllowed, plain<StopBalloonHinting>},
    Route{"PATCH", "/mmds", Body::kRequired, with_mmds_data<PatchMmds>},
    // Known, and not in this monitor.
    Route{"PUT", "/cpu-config", Body::kAllowed, not_supported},
    Route{"PUT", "/pmem/", Body::kAllowed, not_supported},
    Route{"PATCH", "/pmem/", Body::kAllowed, not_supported},
    Route{"DELETE", "/pmem/", Body::kAllowed, not_supported},
    Route{"DELETE", "/drives/", Body::kAllowed, not_supported},
    Route{"DELETE", "/network-interfaces/", Body::kAllowed, not_supported},
    Route{"GET", "/hotplug/memory", Body::kAllowed, not_supported},
    Route{"PUT", "/hotplug/memory", Body::kAllowed, not_supported},
    Route{"PATCH", "/hotplug/memory", Body::kAllowed, not_supported},
};

bool matches(const Route& route, std::string_view method, std::string_view path) {
  if (route.method != method) return false;
  if (route.path.size() == 1 || route.path.back() != '/') return route.path == path;
  // "/drives" without an id is answered by the missing id.
  if (path == route.path.substr(0, route.path.size() - 1)) return true;
  return path.starts_with(route.path) &&
         path.find('/', route.path.size()) == std::string_view::npos;
}

// Without the slashes at its end; an absolute URI without its authority (RFC 9112, 3.2.2).
std::string_view normalized(std::string_view path) {
  constexpr std::string_view kScheme = "http://";
  if (path.starts_with(kScheme)) {
    const std::size_t slash = path.find('/', kScheme.size());
    path = slash == std::string_view::npos ? "/" : path.substr(slash);
  }
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return path;
}

Result<> check_body(const Route& route, std::string_view body) {
  const std::string method(route.method);
  if (route.body == Body::kNone && !body.empty())
    return Error(Errc::kInvalidArgument, method + " request cannot have a body.");
  if (route.body == Body::kRequired && body.empty())
    return Error(Errc::kInvalidArgument, "Empty " + method + " request.");
  return {};
}

}  // namespace

Result<ParsedRequest> parse_request(std::string_view method, std::string_view path,
                                    std::string_view body) {
  path = normalized(path);
  for (const Route& route : kRoutes) {
    if (!matches(route, method, path)) continue;
    MVM_TRY(check_body(route, body));
    const std::size_t prefix = std::min(route.path.size(), path.size());
    return route.function(Call{.id = path.substr(prefix), .body = body});
  }
  return Error(Errc::kInvalidArgument, "Invalid request method and/or path: " +
                                           std::string(method) + " " + std::string(path) + ".");
}

}  // namespace mvm::vmm
