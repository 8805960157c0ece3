// SPDX-License-Identifier: Apache-2.0
// Processors, memory and boot source of a machine.
//
// Source: Firecracker API 1.x, MachineConfiguration and BootSource.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/result.h"
#include "core/units.h"

namespace mvm::vmm {

constexpr std::uint32_t kMaxVcpus = 32;
constexpr std::uint64_t kMaxMemoryMib = 16ULL << 20;  // 16 TiB

enum class HugePages { kNone, kTransparent, k2M };

// Of the API's CPU templates only "None" is accepted, so there is no field for them.
struct MachineConfig {
  std::uint32_t vcpu_count = 1;
  std::uint64_t mem_size_mib = 128;
  bool smt = false;
  bool track_dirty_pages = false;
  HugePages huge_pages = HugePages::kNone;

  Bytes memory() const { return mebibytes(mem_size_mib); }
  friend bool operator==(const MachineConfig&, const MachineConfig&) = default;
};

// What a PATCH changes; a PUT is one with every field set (see full_update).
struct MachineConfigUpdate {
  std::optional<std::uint32_t> vcpu_count;
  std::optional<std::uint64_t> mem_size_mib;
  std::optional<bool> smt;
  std::optional<bool> track_dirty_pages;
  std::optional<HugePages> huge_pages;

  friend bool operator==(const MachineConfigUpdate&, const MachineConfigUpdate&) = default;
};

MachineConfigUpdate full_update(const MachineConfig& config);

// Errors: kInvalidArgument: vcpus outside 1…32 or odd with SMT; memory of 0, above kMaxMemoryMib or
// no multiple of the huge page.
Result<> validate(const MachineConfig& config);

// `now` with the update's fields, validated as a whole.
Result<MachineConfig> apply(const MachineConfigUpdate& update, const MachineConfig& now);

struct BootSourceConfig {
  std::string kernel_image_path;
  std::optional<std::string> initrd_path;
  std::optional<std::string> boot_args;  // nothing: the machine's default

  friend bool operator==(const BootSourceConfig&, const BootSourceConfig&) = default;
};

// The longest command line: x86's COMMAND_LINE_SIZE with its final NUL.
constexpr std::size_t kMaxBootArgs = 2048 - 1;

// Errors: kInvalidArgument: paths empty or with a NUL; arguments too long or not printable ASCII.
Result<> validate(const BootSourceConfig& config);

}  // namespace mvm::vmm
