// SPDX-License-Identifier: Apache-2.0
// The guest's file systems: the image (read-only) and the machine's writes as one overlay, and what
// Linux programs expect around it.
#pragma once

#include <string>
#include <vector>

#include "agent/boot/cmdline.h"
#include "core/result.h"
#include "sys/unique_fd.h"
#include "wire/messages.h"

namespace mvm::agent {

// Descriptors that outlive the switch to the new root, where these trees have no path any more.
struct RootMounts {
  sys::UniqueFd lower;                 // the image
  sys::UniqueFd upper;                 // the overlay's upper directory
  sys::UniqueFd scratch;               // root of the file system that holds it
  bool on_disk = false;                // scratch is a disk, not memory
  std::vector<sys::UniqueFd> volumes;  // their roots
};

// /dev, /proc and /sys of the initramfs.
Result<> mount_early();

struct RootPlan {
  bool scratch_disk = false;  // else the machine's writes go to memory
  DiskMark disks = DiskMark::kSerial;
  std::string image_device;  // empty: the disk of the image
};

// Mounts image and scratch and the overlay of both on /newroot. Disks are found by their mark,
// because their order as vda, vdb is not promised. Errors: "mounting image /dev/vda as erofs: …"
// and the like, with the kernel's own complaint.
Result<RootMounts> mount_root(const RootPlan& plan);

// Makes /newroot the root for good (as switch_root does), then mounts the rest of the table inside
// it, where the image's own symbolic links lead to the right places. Errors: only for what no
// program can do without; the rest is told on the console.
Result<> enter_root();

// Mounts the disk of a volume in the root that was entered, and answers its root. A volume that was
// never used takes over owner and mode of the directory that it covers.
// Errors: "mounting volume data /dev/vdc as ext4: …".
Result<sys::UniqueFd> mount_volume(const wire::VolumeMount& volume);

// Writes everything out and leaves the disks clean: overlay, scratch and volumes become read-only.
void close_mounts(const RootMounts& mounts);

// The exchange disk, to be used past the page cache. Errors: find_disk()'s; open's.
Result<sys::UniqueFd> open_exchange();

// The device of a role, "/dev/vda": "mvm_root", "mvm_scratch" and "mvm_exchange" are serials; by
// access there are only the first, which is read-only, and the second, which is not.
// Errors: kNotFound, listing the disks there are.
Result<std::string> find_disk(const std::string& sys_block, const std::string& role, DiskMark mark);

}  // namespace mvm::agent
