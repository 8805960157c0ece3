// SPDX-License-Identifier: Apache-2.0
// A sealed machine: its signed manifest, and the device that checks every block of its image.
#pragma once

#include <optional>
#include <string>

#include "core/result.h"
#include "seal/manifest.h"
#include "seal/policy.h"
#include "wire/messages.h"

namespace mvm::agent {

// The signed manifest in the initramfs, checked against the key that the host has named; nothing
// when the machine is not sealed. `directory` is /seal. Errors: kCorrupt when the signature does
// not fit, or one of key and manifest is not there.
Result<std::optional<seal::Manifest>> read_seal(const std::string& directory,
                                                const std::string& signer);

// The arguments of dm-verity's target. Pure.
// Source: the kernel's Documentation/admin-guide/device-mapper/verity.rst.
std::string verity_table(const std::string& disk, const seal::Verity& verity);

// Makes the device over `disk` and answers its path. A block that is not what was signed ends the
// guest with a panic, whenever it is read. Errors: those of the device mapper.
// Source: the kernel's include/uapi/linux/dm-ioctl.h.
Result<std::string> open_verity(const std::string& disk, const seal::Verity& verity);

// What the policy says, and for files also of where their path leads: a link inside of an output
// may not lead out of it. To be called in the root of the image.
Result<> admit(seal::Policy& policy, const wire::Open& open);

}  // namespace mvm::agent
