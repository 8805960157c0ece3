// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/config_file.h"

#include <string>

#include "vmm/api/fields.h"
#include "vmm/api/readers.h"

namespace mvm::vmm {
namespace {

using Requests = std::vector<ApiRequest>;

template <class Request, auto Reader>
Result<> section(Fields& file, std::string_view name, Requests& out, Need need = Need::kOptional) {
  std::optional<Fields> fields = file.object(name, need);
  if (!fields) return {};
  out.emplace_back(Request{MVM_TRY_CTX(Reader(*fields), std::string(name))});
  return {};
}

template <class Request, auto Reader>
Result<> sections(Fields& file, std::string_view name, Requests& out) {
  for (Fields& fields : file.objects(name, Need::kOptional))
    out.emplace_back(Request{MVM_TRY_CTX(Reader(fields), std::string(name))});
  return {};
}

Result<> refuse(Fields& file, std::string_view name) {
  if (!file.has(name)) return {};
  return Error(Errc::kUnsupported, std::string(name) + " is not supported by this monitor");
}

}  // namespace

Result<std::vector<ApiRequest>> parse_config_file(std::string_view text) {
  Fields file = MVM_TRY(Fields::parse(text));
  Requests out;
  for (const char* name : {"cpu-config", "memory-hotplug", "pmem"}) MVM_TRY(refuse(file, name));
  MVM_TRY((section<PutLogger, read_logger>(file, "logger", out)));
  MVM_TRY((section<PutMetrics, read_metrics>(file, "metrics", out)));
  if (file.has("snapshot-load")) {
    MVM_TRY((section<PutSnapshotLoad, read_snapshot_load>(file, "snapshot-load", out)));
    MVM_TRY(file.finish());
    return out;
  }
  MVM_TRY((section<PutSerial, read_serial>(file, "serial", out)));
  MVM_TRY((section<PutMachineConfig, read_machine_config>(file, "machine-config", out)));
  MVM_TRY((section<PutBootSource, read_boot_source>(file, "boot-source", out, Need::kRequired)));
  MVM_TRY((sections<PutDrive, read_drive>(file, "drives", out)));
  MVM_TRY((sections<PutNetwork, read_network>(file, "network-interfaces", out)));
  MVM_TRY((section<PutVsock, read_vsock>(file, "vsock", out)));
  MVM_TRY((section<PutBalloon, read_balloon>(file, "balloon", out)));
  MVM_TRY((section<PutEntropy, read_entropy>(file, "entropy", out)));
  MVM_TRY((section<PutMmdsConfig, read_mmds_config>(file, "mmds-config", out)));
  MVM_TRY(file.finish());
  return out;
}

}  // namespace mvm::vmm
