// SPDX-License-Identifier: Apache-2.0
// The floor: the same engine, kernel, initramfs and disks, driven by the least code that can speak
// to the agent: no CLI, no supervisor, no catalogue.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/engine_process.h"
#include "spec/vm_spec.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace mvm::bench {

// A VmSpec as `mvmctl run` makes it, over files in `home` (which becomes MVM_HOME and is filled
// when empty).
spec::VmSpec bare_spec(const std::string& home);

class BareGuest {
 public:
  // Starts the engine. `extra_argv` is appended; (descriptor of ours, number in the engine) pairs
  // are passed on.
  explicit BareGuest(const spec::VmSpec& vm, const std::vector<std::string>& extra_argv = {},
                     const std::vector<std::pair<int, int>>& extra_fds = {});
  void wait_ready();
  // Runs a program without input to its end; returns its exit code.
  int exec(const std::vector<std::string>& argv);
  // Opens a stream and returns without waiting.
  void start(const std::vector<std::string>& argv);
  // Waits for the end of what start() began.
  int finish();
  // One ping and its pong.
  void ping();
  // Kills and reaps the engine.
  void end();

 private:
  wire::Frame next();
  void send(std::uint32_t stream, wire::FrameType type, std::span<const std::byte> payload);
  sys::Child engine_;
  sys::UniqueFd agent_;
  sys::UniqueFd control_;
  sys::UniqueFd console_;
  wire::FrameParser parser_;
  std::uint32_t stream_ = 0;
};

}  // namespace mvm::bench
