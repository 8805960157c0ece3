// SPDX-License-Identifier: Apache-2.0
// The fake backend: the guest agent as an ordinary host process, without any boundary. For tests of
// everything above the engine only; it asks for isolation `container` and says so, and is never
// selected by itself.
#pragma once

#include "backend/backend.h"

namespace mvm::backend::fake {

class FakeBackend final : public Backend {
 public:
  std::string_view name() const override { return "fake"; }
  // Pausing stops the agent, and with it every stream; the processes it has started go on until
  // they wait for it.
  Capabilities capabilities() const override { return {.pause = true, .x86_64 = true}; }
  // engine_program of the spec is the agent's executable.
  Result<LaunchPlan> plan(const spec::VmSpec& vm) const override;
  Result<std::string> saved_by(const SnapshotFiles& files) const override;
  Result<std::unique_ptr<Machine>> launch(const LaunchPlan& plan) const override;
};

}  // namespace mvm::backend::fake
