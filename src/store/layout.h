// SPDX-License-Identifier: Apache-2.0
// Where mvm keeps things: four directories and the name of everything inside them.
//
// Data (images, machines, catalogue) must survive; the cache can be rebuilt; run holds sockets and
// locks of this boot. Nothing is created here: whoever writes makes its directory, mode 0700, at
// that moment, so that commands that only read work with a read-only home. Format:
// docs/formats/store.md.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace mvm::store {

struct Layout {
  std::string data_dir;
  std::string cache_dir;
  std::string config_dir;
  std::string run_dir;

  // MVM_HOME overrides everything; otherwise the XDG directories; otherwise ~/.local/share and so
  // on. Errors: kInvalidArgument when a variable is not an absolute path, or none of them and no
  // HOME is set.
  static Result<Layout> from_environment();
  // The same over any environment: `get` returns "" for an unset variable.
  static Result<Layout> from_variables(const std::function<std::string(const char*)>& get);

  std::string database_path() const { return data_dir + "/catalog.db"; }
  // Blobs, temporary directories of pulls, and the lock that pulls share and gc takes alone.
  std::string images_dir() const { return data_dir + "/images"; }
  std::string blobs_dir() const { return images_dir() + "/blobs"; }
  std::string images_tmp_dir() const { return images_dir() + "/tmp"; }
  std::string images_lock_path() const { return images_dir() + "/lock"; }
  // The EROFS file of an image; `digest` is 64 hex characters.
  std::string blob_path(std::string_view digest) const {
    return blobs_dir() + "/" + std::string(digest) + ".erofs";
  }

  std::string vms_dir() const { return data_dir + "/vms"; }
  // Scratch disk, logs and status of a machine.
  std::string vm_dir(std::string_view id) const { return vms_dir() + "/" + std::string(id); }
  std::string volumes_dir() const { return data_dir + "/volumes"; }
  // Disk and lock of a volume.
  std::string volume_dir(std::string_view name) const {
    return volumes_dir() + "/" + std::string(name);
  }
  std::string snapshots_dir() const { return data_dir + "/snapshots"; }
  // State, memory and scratch disk of a snapshot; nothing in it is changed once a record names it.
  std::string snapshot_dir(std::string_view id) const {
    return snapshots_dir() + "/" + std::string(id);
  }
  // Sockets and lock of a machine.
  std::string vm_run_dir(std::string_view id) const { return run_dir + "/vms/" + std::string(id); }

  // What builds keep between them: sources, layers, a Nix store.
  std::string build_cache_dir() const { return cache_dir + "/build"; }
  // Logs of steps that failed.
  std::string build_logs_dir() const { return data_dir + "/build-logs"; }
  std::string kernel_cache_dir() const { return cache_dir + "/kernels"; }
  std::string initramfs_cache_dir() const { return cache_dir + "/initramfs"; }
  // Empty formatted scratch disks, copied for each new machine.
  std::string scratch_template_dir() const { return cache_dir + "/scratch"; }
};

}  // namespace mvm::store
