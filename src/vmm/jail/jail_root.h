// SPDX-License-Identifier: Apache-2.0
// The root directory of a jail: made beside the host's tree, filled, then entered for good.
//
// Everything is done relative to the new root's descriptor and without following a link inside it:
// a directory that served a jail before may hold anything.
//
// Source: open_tree(2), move_mount(2), mount_setattr(2), pivot_root(2).
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "core/result.h"
#include "sys/unique_fd.h"
#include "vmm/jail/jailer.h"

namespace mvm::vmm {

struct JailOwner {
  uid_t uid = 0;
  gid_t gid = 0;
};

// Errors: kInvalidArgument: a path that is not absolute or has "..", entries within each other.
Result<> validate_root(const JailConfig& config);

class JailRoot {
 public:
  // Mounts it over the host's root, where nobody sees it yet. The caller has a mount namespace of
  // its own. `owner`: whom new files belong to; nothing: ourselves, and devices are bound.
  static Result<JailRoot> create(const JailConfig& config, std::optional<JailOwner> owner);

  Result<> add(const JailEntry& entry);
  // A node of its own where that is allowed, else the host's. Absent on the host: kNotFound when it
  // is required, else nothing is made.
  Result<> add(const JailDevice& device);
  Result<> add_directory(const std::string& path);

  // No file can be made in it from now on; what is mounted in it is not affected.
  Result<> make_read_only();
  // Leaves the host's tree: from now on this is "/".
  Result<> enter();

 private:
  JailRoot(sys::UniqueFd root, std::optional<JailOwner> owner)
      : root_(std::move(root)), owner_(owner) {}
  Result<sys::UniqueFd> parent_of(std::string_view path);
  Result<> place(int tree, const std::string& inside, bool directory);
  Result<bool> make_node(const std::string& path, dev_t device);
  Result<> own(int dir, const char* name);

  sys::UniqueFd root_;
  std::optional<JailOwner> owner_;
};

}  // namespace mvm::vmm
