// SPDX-License-Identifier: Apache-2.0
// The initramfs that every guest starts from: the agent as /init and the kernel modules it loads.
//
// One uncompressed cpio per (kernel, agent, plan), made once and found by its name. Format:
// docs/formats/initramfs.md.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "kernel/cpio.h"
#include "kernel/kernel.h"
#include "kernel/modules.h"

namespace mvm::kernel {

// How the agent reaches the host, which decides one driver.
enum class AgentChannel { kVirtioSerial, kVsock };

struct InitramfsModule {
  std::string group;  // "boot": always loaded; "net": loaded when a network is configured
  std::string name;   // in the archive, below /modules: "00-virtio_ring.ko"
  std::string
      source;  // below the modules directory; may be compressed, the copy in the archive never is
};

// What goes in beside the agent and the modules that every guest needs.
struct InitramfsPlan {
  AgentChannel channel = AgentChannel::kVirtioSerial;
  std::vector<std::string> modules = {};  // always loaded
  std::vector<CpioEntry> files = {};
  // The archive is read and compared with the digest that was noted when it was made.
  bool checked = false;
};

// Which modules go in, in load order. Pure.
Result<std::vector<InitramfsModule>> plan_modules(const ModuleIndex& index,
                                                  const InitramfsPlan& plan = {});

// Path of the cached archive; made when it is not there. Two processes may make it at once: the
// bytes are the same. Errors: kNotFound for the agent; kCorrupt for damaged modules, and for an
// archive that was to be checked and is not what was made; kNoSpace.
Result<std::string> initramfs_for(const Kernel& kernel, const std::string& agent_path,
                                  const std::string& cache_dir, const InitramfsPlan& plan = {});

}  // namespace mvm::kernel
