// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "backend/backend.h"

namespace mvm::backend {

std::span<const Feature> features() {
  static constexpr std::array<Feature, 13> kFeatures = {{
      {"network", "network", &Capabilities::user_network},
      {"forwards", "ports of this host (-p)", &Capabilities::port_forward},
      {"console", "kernel console", &Capabilities::console},
      {"kernel", "kernel of its own (--kernel, --cmdline-extra)", &Capabilities::kernel},
      {"disk", "scratch disk", &Capabilities::scratch_disk},
      {"volumes", "volumes", &Capabilities::volumes},
      {"pause", "pause", &Capabilities::pause},
      {"snapshot", "snapshots", &Capabilities::snapshot},
      // Any number of machines is started from one snapshot.
      {"restore", "restore", &Capabilities::snapshot},
      {"fork", "fork", &Capabilities::snapshot},
      {"seal", "guest that keeps a seal", &Capabilities::seal},
      {"cpu_limit", "limit of processors", &Capabilities::limits},
      {"memory_limit", "limit of memory", &Capabilities::limits},
  }};
  return kFeatures;
}

}  // namespace mvm::backend
