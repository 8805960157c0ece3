// SPDX-License-Identifier: Apache-2.0
#include "vmm/controller.h"

#include <fcntl.h>

#include <utility>

#include "core/log.h"
#include "sys/io.h"
#include "vmm/balloon/balloon_device.h"
#include "vmm/block/block_device.h"
#include "vmm/logging.h"
#include "vmm/machine/limits.h"
#include "vmm/net/net_device.h"

namespace mvm::vmm {
namespace {

Result<ApiAnswer> no_content() { return ApiAnswer(NoContent{}); }

Error not_configured(const std::string& what) {
  return Error(Errc::kInvalidArgument, "The machine has no " + what + ".");
}

}  // namespace

VmController::VmController(IoThread& io, std::string id, Bytes metadata_limit, Hooks hooks)
    : io_(io),
      id_(std::move(id)),
      hooks_(std::move(hooks)),
      metadata_(std::make_shared<Mmds>(metadata_limit)) {}

Result<ApiAnswer> VmController::handle(ApiRequest request) {
  MVM_TRY(check_allowed(request, state_));
  auto answer = std::visit([this](const auto& action) { return act(action); }, request);
  if (answer && configures_boot(request)) configured_ = true;
  return answer;
}

MachineContext VmController::context() {
  MachineContext out{io_, hooks_.confine_vcpu, hooks_.on_end, hooks_.on_boot_done, metadata_};
  return out;
}

// What is told.

Result<ApiAnswer> VmController::act(const GetInstanceInfo&) {
  return ApiAnswer(InstanceInfo{id_, state_, MVM_VERSION, "mvm-vmm"});
}

Result<ApiAnswer> VmController::act(const GetVersion&) {
  return ApiAnswer(VersionAnswer{MVM_VERSION});
}

Result<ApiAnswer> VmController::act(const GetMachineConfig&) { return ApiAnswer(config_.machine); }

Result<ApiAnswer> VmController::act(const GetVmConfig&) { return ApiAnswer(config_); }

Result<ApiAnswer> VmController::act(const GetBalloon&) {
  if (!config_.balloon) return not_configured("balloon device");
  return ApiAnswer(*config_.balloon);
}

// What is collected before the start.

Result<ApiAnswer> VmController::act(const PutMachineConfig& request) {
  MVM_TRY(check_balloon(config_.balloon, request.config));
  config_.machine = request.config;
  return no_content();
}

Result<ApiAnswer> VmController::act(const PatchMachineConfig& request) {
  const MachineConfig machine = MVM_TRY(apply(request.update, config_.machine));
  MVM_TRY(check_balloon(config_.balloon, machine));
  config_.machine = machine;
  return no_content();
}

Result<ApiAnswer> VmController::act(const PutBootSource& request) {
  for (const std::string& path :
       {request.config.kernel_image_path, request.config.initrd_path.value_or("")}) {
    if (!path.empty()) MVM_TRY(sys::open_file(path, O_RDONLY));
  }
  config_.boot_source = request.config;
  return no_content();
}

Result<ApiAnswer> VmController::act(const PutDrive& request) {
  MVM_TRY(
      sys::open_file(request.config.path_on_host, request.config.is_read_only ? O_RDONLY : O_RDWR));
  MVM_TRY(insert_drive(config_.drives, request.config));
  return no_content();
}

Result<ApiAnswer> VmController::act(const PutNetwork& request) {
  MVM_TRY(insert_network(config_.network_interfaces, request.config));
  return no_content();
}

Result<ApiAnswer> VmController::act(const PutVsock& request) {
  config_.vsock = request.config;
  return no_content();
}

Result<ApiAnswer> VmController::act(const PutEntropy& request) {
  config_.entropy = request.config;
  return no_content();
}

Result<ApiAnswer> VmController::act(const PutBalloon& request) {
  if (request.config.free_page_hinting)
    return Error(Errc::kUnsupported,
                 "Free page hinting is not supported: a guest may take a hinted page back before "
                 "the host has seen the hint. Use free_page_reporting.");
  MVM_TRY(check_balloon(request.config, config_.machine));
  config_.balloon = request.config;
  return no_content();
}

Result<> VmController::check_balloon(const std::optional<BalloonConfig>& balloon,
                                     const MachineConfig& machine) const {
  if (!balloon) return {};
  return validate_balloon_size(balloon->amount_mib, machine.mem_size_mib);
}

Result<ApiAnswer> VmController::act(const PutLogger& request) {
  MVM_TRY(configure_log(request.config, id_));
  config_.logger = request.config;
  return no_content();
}

Result<ApiAnswer> VmController::act(const PutMetrics& request) {
  if (metrics_) return Error(Errc::kInvalidArgument, "The metrics have a file already.");
  metrics_ = MVM_TRY(MetricsFile::open(request.config, id_));
  config_.metrics = request.config;
  return no_content();
}

Result<ApiAnswer> VmController::act(const PutSerial& request) {
  config_.serial = request.config;
  return no_content();
}

// Metadata.

Result<ApiAnswer> VmController::act(const PutMmdsConfig& request) {
  MVM_TRY(validate(request.config, config_.network_interfaces));
  config_.mmds = request.config;
  metadata_->configure({request.config.version == MmdsVersion::kV2, request.config.imds_compat});
  return no_content();
}

Result<ApiAnswer> VmController::act(const GetMmds&) {
  return ApiAnswer(MmdsAnswer{metadata_->get()});
}

Result<ApiAnswer> VmController::act(const PutMmds& request) {
  MVM_TRY(metadata_->put(request.json));
  return no_content();
}

Result<ApiAnswer> VmController::act(const PatchMmds& request) {
  MVM_TRY(metadata_->patch(request.json));
  return no_content();
}

// The machine.

Result<ApiAnswer> VmController::act(const StartInstance&) {
  if (config_.mmds) MVM_TRY(validate(*config_.mmds, config_.network_interfaces));
  MVM_TRY(hooks_.before_machine());
  machine_ = MVM_TRY_CTX(Machine::boot(context(), config_), "starting the machine");
  MVM_TRY(hooks_.confine_main());
  machine_->resume();
  state_ = VmState::kRunning;
  return no_content();
}

Result<ApiAnswer> VmController::act(const PauseVm&) {
  machine_->pause();
  state_ = VmState::kPaused;
  return no_content();
}

Result<ApiAnswer> VmController::act(const ResumeVm&) {
  machine_->resume();
  state_ = VmState::kRunning;
  return no_content();
}

Result<ApiAnswer> VmController::act(const SendCtrlAltDel&) {
  MVM_TRY(machine_->legacy().press_ctrl_alt_del());
  return no_content();
}

Result<ApiAnswer> VmController::act(const FlushMetrics&) {
  MVM_TRY(flush_metrics());
  return no_content();
}

Result<> VmController::flush_metrics() {
  if (!metrics_) return {};
  return metrics_->write(machine_ ? &machine_->devices() : nullptr);
}

// Devices of a running machine.

template <class Device, class Work>
Result<> VmController::with_device(const std::string& name, Work work) {
  MmioTransport* transport = machine_ ? machine_->devices().find(name) : nullptr;
  if (transport == nullptr) return not_configured("device " + name);
  Result<> done;
  transport->with_device([&](VirtioDevice& device) { done = work(static_cast<Device&>(device)); });
  return done;
}

Result<ApiAnswer> VmController::act(const PatchDrive& request) {
  const DriveUpdate& update = request.update;
  MVM_TRY(with_device<BlockDevice>("drive/" + update.drive_id, [&](BlockDevice& drive) -> Result<> {
    if (update.path_on_host) MVM_TRY(drive.update_file(*update.path_on_host));
    if (update.rate_limiter) drive.update_limits(limits_of(*update.rate_limiter));
    return {};
  }));
  for (DriveConfig& drive : config_.drives) {
    if (drive.drive_id != update.drive_id) continue;
    if (update.path_on_host) drive.path_on_host = *update.path_on_host;
    if (update.rate_limiter)
      drive.rate_limiter =
          updated(drive.rate_limiter.value_or(RateLimiterConfig{}), *update.rate_limiter);
  }
  return no_content();
}

Result<ApiAnswer> VmController::act(const PatchNetwork& request) {
  const NetworkUpdate& update = request.update;
  const RateLimiterConfig none;
  const RateLimits rx = limits_of(update.rx_rate_limiter.value_or(none));
  const RateLimits tx = limits_of(update.tx_rate_limiter.value_or(none));
  MVM_TRY(with_device<NetDevice>("net/" + update.iface_id, [&](NetDevice& net) -> Result<> {
    net.update_limits(rx, tx);
    return {};
  }));
  for (NetworkConfig& net : config_.network_interfaces) {
    if (net.iface_id != update.iface_id) continue;
    if (update.rx_rate_limiter)
      net.rx_rate_limiter = updated(net.rx_rate_limiter.value_or(none), *update.rx_rate_limiter);
    if (update.tx_rate_limiter)
      net.tx_rate_limiter = updated(net.tx_rate_limiter.value_or(none), *update.tx_rate_limiter);
  }
  return no_content();
}

Result<ApiAnswer> VmController::act(const PatchBalloon& request) {
  const std::uint32_t target = request.update.amount_mib;
  MVM_TRY(validate_balloon_size(target, config_.machine.mem_size_mib));
  MVM_TRY(with_device<BalloonDevice>(
      "balloon", [&](BalloonDevice& balloon) { return balloon.set_target(target); }));
  config_.balloon->amount_mib = target;
  return no_content();
}

Result<ApiAnswer> VmController::act(const PatchBalloonStats& request) {
  if (!config_.balloon) return not_configured("balloon device");
  const BalloonConfig changed = MVM_TRY(apply(request.update, *config_.balloon));
  MVM_TRY(with_device<BalloonDevice>("balloon", [&](BalloonDevice& balloon) {
    return balloon.set_stats_interval(changed.stats_polling_interval_s);
  }));
  config_.balloon = changed;
  return no_content();
}

Result<ApiAnswer> VmController::act(const GetBalloonStats&) {
  BalloonStats out;
  MVM_TRY(with_device<BalloonDevice>("balloon", [&](BalloonDevice& balloon) -> Result<> {
    const BalloonReport told = MVM_TRY(balloon.stats());
    out.target_pages = told.target_pages;
    out.actual_pages = told.actual_pages;
    out.target_mib = told.target_mib;
    out.actual_mib = told.actual_mib;
    const std::array fields = {&out.swap_in,          &out.swap_out,    &out.major_faults,
                               &out.minor_faults,     &out.free_memory, &out.total_memory,
                               &out.available_memory, &out.disk_caches, &out.hugetlb_allocations,
                               &out.hugetlb_failures, &out.oom_kill,    &out.alloc_stall,
                               &out.async_scan,       &out.direct_scan, &out.async_reclaim,
                               &out.direct_reclaim};
    static_assert(std::tuple_size_v<decltype(fields)> == kBalloonStatNames.size());
    for (std::size_t i = 0; i < fields.size(); ++i) *fields[i] = told.values[i];
    return {};
  }));
  return ApiAnswer(out);
}

namespace {
Error no_hinting() {
  return Error(Errc::kUnsupported, "Free page hinting is not supported; use free_page_reporting.");
}
}  // namespace

Result<ApiAnswer> VmController::act(const StartBalloonHinting&) { return no_hinting(); }
Result<ApiAnswer> VmController::act(const GetBalloonHinting&) { return no_hinting(); }
Result<ApiAnswer> VmController::act(const StopBalloonHinting&) { return no_hinting(); }

}  // namespace mvm::vmm
