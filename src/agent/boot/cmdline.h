// SPDX-License-Identifier: Apache-2.0
// What the host tells the agent on the kernel command line: only what is needed before the channel
// is open.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mvm::agent {

// What tells the image from the scratch disk: a virtio serial, or that only the image is read-only.
enum class DiskMark { kSerial, kAccess };

struct BootOptions {
  bool scratch = false;  // mvm.scratch=1: writes go to the disk `mvm_scratch`, else to memory
  std::uint32_t vsock_port = 0;  // mvm.vsock=PORT: the host listens there; 0: a virtio-serial port
  // mvm.disks=access: the engine gives its disks no serials of ours.
  DiskMark disks = DiskMark::kSerial;
  std::string signer;  // mvm.seal=KEY: the machine is sealed, and this public key has signed it
  bool trace = false;  // mvm.trace=1: each boot step is told on the console with its time
};

// Words that are not ours are the kernel's and ignored. The last of equal ones counts.
BootOptions parse_cmdline(std::string_view cmdline);

}  // namespace mvm::agent
