// SPDX-License-Identifier: Apache-2.0
// Readers of what a machine has one of.
#include <limits>

#include "vmm/api/read_helpers.h"
#include "vmm/api/readers.h"

namespace mvm::vmm {
namespace {

// Templates of Firecracker's that hide processor features: only "None" asks for nothing.
void read_cpu_template(Fields& fields) {
  const std::optional<std::string> name = fields.text("cpu_template", Need::kOptional);
  if (name && *name != "None")
    fields.fail(Error(Errc::kUnsupported, "The CPU template `" + *name + "` is not supported."));
}

}  // namespace

Result<MachineConfigUpdate> read_machine_update(Fields& fields) {
  MachineConfigUpdate update;
  update.vcpu_count = read_number<std::uint8_t>(fields, "vcpu_count", Need::kOptional);
  update.mem_size_mib = read_number<std::uint64_t>(fields, "mem_size_mib", Need::kOptional);
  update.smt = fields.boolean("smt", Need::kOptional);
  update.track_dirty_pages = fields.boolean("track_dirty_pages", Need::kOptional);
  update.huge_pages = read_enum<HugePages>(fields, "huge_pages", kHugePageNames, Need::kOptional);
  read_cpu_template(fields);
  MVM_TRY(fields.finish());
  return update;
}

Result<MachineConfig> read_machine_config(Fields& fields) {
  MachineConfig config;
  config.vcpu_count = read_number<std::uint8_t>(fields, "vcpu_count", Need::kRequired).value_or(0);
  config.mem_size_mib =
      read_number<std::uint64_t>(fields, "mem_size_mib", Need::kRequired).value_or(0);
  config.smt = fields.boolean("smt", Need::kDefault).value_or(false);
  config.track_dirty_pages = fields.boolean("track_dirty_pages", Need::kDefault).value_or(false);
  config.huge_pages = read_enum<HugePages>(fields, "huge_pages", kHugePageNames, Need::kDefault)
                          .value_or(HugePages::kNone);
  read_cpu_template(fields);
  return finished(fields, config);
}

Result<BootSourceConfig> read_boot_source(Fields& fields) {
  BootSourceConfig config;
  config.kernel_image_path = fields.text("kernel_image_path", Need::kRequired).value_or("");
  config.initrd_path = fields.text("initrd_path", Need::kOptional);
  config.boot_args = fields.text("boot_args", Need::kOptional);
  return finished(fields, std::move(config));
}

Result<LoggerConfig> read_logger(Fields& fields) {
  LoggerConfig config;
  config.log_path = fields.text("log_path", Need::kOptional);
  if (const auto level = fields.text("level", Need::kOptional)) {
    const Result<LogLevel> parsed = parse_log_level(*level);
    if (parsed)
      config.level = *parsed;
    else
      fields.fail(parsed.error());
  }
  config.show_level = fields.boolean("show_level", Need::kOptional);
  config.show_log_origin = fields.boolean("show_log_origin", Need::kOptional);
  config.module = fields.text("module", Need::kOptional);
  return finished(fields, std::move(config));
}

Result<MetricsConfig> read_metrics(Fields& fields) {
  MetricsConfig config;
  config.metrics_path = fields.text("metrics_path", Need::kRequired).value_or("");
  config.emit_id = fields.boolean("emit_id", Need::kDefault).value_or(false);
  if (auto properties = fields.text_map("properties", Need::kOptional))
    config.properties = std::move(*properties);
  return finished(fields, std::move(config));
}

Result<MmdsConfig> read_mmds_config(Fields& fields) {
  MmdsConfig config;
  config.version = read_enum<MmdsVersion>(fields, "version", kMmdsVersionNames, Need::kDefault)
                       .value_or(MmdsVersion::kV1);
  if (auto ids = fields.texts("network_interfaces", Need::kRequired))
    config.network_interfaces = std::move(*ids);
  if (const auto address = fields.text("ipv4_address", Need::kOptional)) {
    const Result<Ipv4Address> parsed = parse_ipv4(*address);
    if (parsed)
      config.ipv4_address = *parsed;
    else
      fields.fail(parsed.error());
  }
  config.imds_compat = fields.boolean("imds_compat", Need::kDefault).value_or(false);
  return finished(fields, std::move(config));
}

}  // namespace mvm::vmm
