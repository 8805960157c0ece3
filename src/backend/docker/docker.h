// SPDX-License-Identifier: Apache-2.0
// The docker backend: the image as a container, with the agent as its init. No machine boundary.
//
// mvm-docker is the engine: it starts the container, ends with it, and holds it when told to. The
// agent connects to a socket of the supervisor that lies in the container; when that connection
// ends, it ends, and the daemon removes the container: a killed supervisor leaves none.
#pragma once

#include "backend/backend.h"

namespace mvm::backend::docker {

class DockerBackend final : public Backend {
 public:
  std::string_view name() const override { return "docker"; }
  Capabilities capabilities() const override;
  Result<LaunchPlan> plan(const spec::VmSpec& vm) const override;
  Result<std::string> saved_by(const SnapshotFiles& files) const override;
  Result<std::unique_ptr<Machine>> launch(const LaunchPlan& plan) const override;
};

}  // namespace mvm::backend::docker
