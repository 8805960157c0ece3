// SPDX-License-Identifier: Apache-2.0
#include "vmm/config/machine_config.h"

#include <algorithm>

#include "vmm/config/text_checks.h"

namespace mvm::vmm {

MachineConfigUpdate full_update(const MachineConfig& config) {
  return {.vcpu_count = config.vcpu_count,
          .mem_size_mib = config.mem_size_mib,
          .smt = config.smt,
          .track_dirty_pages = config.track_dirty_pages,
          .huge_pages = config.huge_pages};
}

Result<> validate(const MachineConfig& config) {
  if (config.vcpu_count == 0 || config.vcpu_count > kMaxVcpus)
    return Error(Errc::kInvalidArgument, "The vCPU number is invalid! It must be between 1 and " +
                                             std::to_string(kMaxVcpus) + ".");
  if (config.smt && config.vcpu_count > 1 && config.vcpu_count % 2 == 1)
    return Error(Errc::kInvalidArgument,
                 "The vCPU number is invalid! With SMT it must be 1 or even.");
  if (config.mem_size_mib == 0 || config.mem_size_mib > kMaxMemoryMib)
    return Error(Errc::kInvalidArgument,
                 "The memory size (MiB) is invalid! It must be between 1 and " +
                     std::to_string(kMaxMemoryMib) + ".");
  if (config.huge_pages != HugePages::kNone && config.mem_size_mib % 2 == 1)
    return Error(Errc::kInvalidArgument,
                 "The memory size (MiB) is invalid! With huge pages it must be a multiple of 2.");
  return {};
}

Result<MachineConfig> apply(const MachineConfigUpdate& update, const MachineConfig& now) {
  const MachineConfig next{
      .vcpu_count = update.vcpu_count.value_or(now.vcpu_count),
      .mem_size_mib = update.mem_size_mib.value_or(now.mem_size_mib),
      .smt = update.smt.value_or(now.smt),
      .track_dirty_pages = update.track_dirty_pages.value_or(now.track_dirty_pages),
      .huge_pages = update.huge_pages.value_or(now.huge_pages),
  };
  MVM_TRY(validate(next));
  return next;
}

Result<> validate(const BootSourceConfig& config) {
  MVM_TRY(check_path("kernel_image_path", config.kernel_image_path));
  if (config.initrd_path) MVM_TRY(check_path("initrd_path", *config.initrd_path));
  if (!config.boot_args) return {};
  const std::string& args = *config.boot_args;
  if (args.size() > kMaxBootArgs)
    return Error(Errc::kInvalidArgument, "The kernel command line is invalid: it is longer than " +
                                             std::to_string(kMaxBootArgs) + " bytes.");
  if (!std::all_of(args.begin(), args.end(), [](char c) { return c >= ' ' && c <= '~'; }))
    return Error(Errc::kInvalidArgument,
                 "The kernel command line is invalid: it holds a character that is not printable "
                 "ASCII.");
  return {};
}

}  // namespace mvm::vmm
