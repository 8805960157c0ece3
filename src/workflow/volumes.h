// SPDX-License-Identifier: Apache-2.0
// Volumes: ext4 disks by name that outlive the machines they are mounted in. One machine has a
// volume at a time.
//
// A name is NAME, or PROJECT+NAME for one of a project's.
//
// volumes/NAME/disk.img   the disk
// volumes/NAME/lock       held by the supervisor of the machine that has it
// volumes/.lock           held for a moment by whoever makes, takes or removes one
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/units.h"
#include "spec/vm_spec.h"
#include "store/layout.h"
#include "sys/files.h"

namespace mvm::workflow {

// Each with where its disk lies or will lie; a mount before what is mounted below it.
// Errors: kInvalidArgument for a name, a path, two of one name or at one path, too many.
Result<std::vector<spec::VolumeDisk>> place_volumes(const store::Layout& layout,
                                                    const std::vector<spec::VolumeSpec>& wanted);

// Makes those that are not there, and takes all for one machine. Errors: kBusy naming the machine
// that has one; kNoSpace. A volume that was made stays.
Result<std::vector<sys::FileLock>> take_volumes(const store::Layout& layout,
                                                const std::vector<spec::VolumeSpec>& wanted);

struct Volume {
  std::string name;
  Bytes size;           // of its file system
  Bytes used;           // on the host's disk
  std::string machine;  // that has it, by name; empty: none
  std::string disk_path;
};

// By name.
Result<std::vector<Volume>> list_volumes(const store::Layout& layout);

// Nothing when there is none of this name.
Result<std::optional<Volume>> find_volume(const store::Layout& layout, const std::string& name);

// Errors: kNotFound; kBusy while a machine has it.
Result<> remove_volume(const store::Layout& layout, const std::string& name);

}  // namespace mvm::workflow
