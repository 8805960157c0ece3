// SPDX-License-Identifier: Apache-2.0
// A place in memory for trees that are packed as soon as they are whole: making and reading
// thousands of small files there takes a tenth of what a disk's file system needs, and nobody waits
// for fsync().
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.h"

namespace mvm::build {

// How much memory such a tree may take: a quarter of what is available, at most 2 GiB; nothing when
// /proc/meminfo, given here, does not say.
Bytes memory_to_spare(std::string_view meminfo);

// Where the limits of memory of a process stand that /proc/self/cgroup, given here, puts into these
// control groups. A container sees its own group as the root. Source: cgroups(7).
std::vector<std::string> memory_limit_files(std::string_view cgroup);

// A directory in memory, seen by this process and its children alone; gone with this, or with the
// process however that ends.
class MemoryDir {
 public:
  // Mounted at `path`, which is made. Nothing without root, where it cannot be mounted, or when
  // less than `needed` is to spare.
  static std::optional<MemoryDir> mount(const std::string& path, Bytes needed);
  MemoryDir(MemoryDir&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  MemoryDir& operator=(MemoryDir&&) = delete;
  ~MemoryDir();

  const std::string& path() const { return path_; }

 private:
  explicit MemoryDir(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace mvm::build
