// SPDX-License-Identifier: Apache-2.0
// The QEMU backend: `-M microvm` under KVM or TCG, controlled by QMP.
#pragma once

#include "backend/backend.h"

namespace mvm::backend::qemu {

class QemuBackend final : public Backend {
 public:
  std::string_view name() const override { return "qemu"; }
  Capabilities capabilities() const override {
    return {.user_network = true,
            .port_forward = true,
            .console = true,
            .scratch_disk = true,
            .pause = true,
            .volumes = true,
            .kernel = true,
            .seal = true,
            .limits = true,
            .x86_64 = true};
  }
  Result<LaunchPlan> plan(const spec::VmSpec& vm) const override;
  Result<std::string> saved_by(const SnapshotFiles& files) const override;
  Result<std::unique_ptr<Machine>> launch(const LaunchPlan& plan) const override;
};

}  // namespace mvm::backend::qemu
