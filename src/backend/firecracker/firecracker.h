// SPDX-License-Identifier: Apache-2.0
// The driver of the two monitors that speak Firecracker's API: firecracker itself and mvm-vmm.
//
// The machine is described by a configuration file, in the API's own terms, so that it boots as the
// process starts, without a round trip. The agent comes by vsock: the supervisor listens on the
// socket that the monitor connects to for the guest, and its connection is the sign of life.
#pragma once

#include "backend/backend.h"

namespace mvm::backend::firecracker {

enum class Monitor { kFirecracker, kMvmVmm };

class FirecrackerBackend final : public Backend {
 public:
  explicit FirecrackerBackend(Monitor monitor) : monitor_(monitor) {}
  std::string_view name() const override {
    return monitor_ == Monitor::kMvmVmm ? "mvm-vmm" : "firecracker";
  }
  Capabilities capabilities() const override;
  Result<LaunchPlan> plan(const spec::VmSpec& vm) const override;
  Result<std::string> saved_by(const SnapshotFiles& files) const override;
  Result<std::unique_ptr<backend::Machine>> launch(const LaunchPlan& plan) const override;

 private:
  Monitor monitor_;
};

}  // namespace mvm::backend::firecracker
