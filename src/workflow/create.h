// SPDX-License-Identifier: Apache-2.0
// From what the user asked for to a started machine: image, kernel, backend, disks, record,
// supervisor.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "image/progress.h"
#include "image/pull.h"
#include "spec/vm_spec.h"
#include "store/layout.h"
#include "sys/unique_fd.h"

namespace mvm::workflow {

struct CreateRequest {
  image::PullRequest image;
  std::string name;  // empty: one is made up
  std::string hostname;
  std::string backend = "auto";
  // Nothing: what is usual for the backend (platform/select.h).
  std::optional<spec::Isolation> least_isolation;
  bool experimental = false;     // a host of experimental support will do
  bool allow_container = false;  // docker, where there is no machine to be had
  spec::NetworkSpec network;
  spec::LimitSpec limits;
  spec::RestartPolicy restart;
  bool ephemeral = false;  // writes go to guest memory instead of a disk
  Bytes disk_size = gibibytes(8);
  std::vector<spec::VolumeSpec> volumes;
  std::string kernel_file;  // or the name of a cached kernel; empty: the one in use
  std::string cmdline_extra;
  bool remove_when_done = false;
  bool sealed = false;  // an image that is not sealed is refused
  bool jail = true;     // of engines that have one

  // The process: laid over what the image says.
  std::optional<std::string> entrypoint;  // "" removes the image's
  std::vector<std::string> command;
  std::vector<std::string> env;  // "NAME=VALUE", or "NAME" for the value of ours
  std::string working_dir;
  std::string user;
  bool main_process =
      false;          // the supervisor runs it; otherwise it is only worked out for the caller
  bool idle = false;  // no main process even if the image names one
};

struct Created {
  spec::VmSpec vm;
  spec::ProcessSpec
      process;  // what the image and the request make of a command; argv empty: nothing named
  sys::UniqueFd
      connection;  // to the supervisor; closing it ends a machine that is removed when done
};

// Told before the machine starts, so that the user reads it first.
struct CreateEvents {
  image::Progress& progress;
  std::function<void(const std::string& step)> on_step;     // other work that may take a second
  std::function<void(const std::string& line)> on_posture;  // backend, tier, what that means
};

// Errors: every cause by which a machine cannot be made; then nothing is left behind.
Result<Created> create(const store::Layout& layout, const CreateRequest& request,
                       const CreateEvents& events);

// Removes the record of a machine whose supervisor has removed the rest. Fine when it is gone
// already.
Result<> forget(const store::Layout& layout, const std::string& id);

}  // namespace mvm::workflow
