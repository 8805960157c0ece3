// SPDX-License-Identifier: Apache-2.0
#include "build/memory_dir.h"

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "core/lines.h"
#include "sys/io.h"

namespace mvm::build {
namespace {

constexpr Bytes kMost = gibibytes(2);

// What is in a tmpfs counts for who has written it.
Bytes to_spare() {
  Bytes out = memory_to_spare(sys::read_file("/proc/meminfo").value_or(""));
  for (const std::string& path :
       memory_limit_files(sys::read_file("/proc/self/cgroup").value_or(""))) {
    const std::string text = sys::read_file(path).value_or("max");
    std::uint64_t limit = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), limit);
    if (end.ec == std::errc()) out = std::min(out, Bytes{limit / 4});  // "max" is none
  }
  return out;
}

}  // namespace

std::vector<std::string> memory_limit_files(std::string_view cgroup) {
  const std::string v1 = "/sys/fs/cgroup/memory", v2 = "/sys/fs/cgroup";
  const std::string limit_v1 = "/memory.limit_in_bytes", limit_v2 = "/memory.max";
  std::vector<std::string> out = {v1 + limit_v1, v2 + limit_v2};
  for (const std::string_view line : lines_of(cgroup)) {
    const std::size_t controllers = line.find(':') + 1;
    const std::size_t path = line.find(':', controllers) + 1;
    if (controllers == 0 || path == 0) continue;
    const std::string_view names = line.substr(controllers, path - 1 - controllers);
    // The group, and all that it lies in.
    for (std::string group(line.substr(path)); group.size() > 1;
         group.resize(group.find_last_of('/'))) {
      if (names == "memory") out.push_back(v1 + group + limit_v1);
      if (names.empty()) out.push_back(v2 + group + limit_v2);
    }
  }
  return out;
}

// Source: proc(5), "MemAvailable:    6242480 kB".
Bytes memory_to_spare(std::string_view meminfo) {
  constexpr std::string_view kKey = "MemAvailable:";
  for (const std::string_view line : lines_of(meminfo)) {
    if (!line.starts_with(kKey)) continue;
    const std::size_t at = std::min(line.find_first_not_of(' ', kKey.size()), line.size());
    std::uint64_t number = 0;
    std::from_chars(line.data() + at, line.data() + line.size(), number);
    return std::min(kMost, kibibytes(number / 4));
  }
  return {};
}

std::optional<MemoryDir> MemoryDir::mount(const std::string& path, Bytes needed) {
  const Bytes most = to_spare();
  if (::geteuid() != 0 || most < needed || !sys::make_dirs(path)) return std::nullopt;
  const std::string options = "mode=700,size=" + std::to_string(most.count);
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", path.c_str(), "tmpfs", 0, options.c_str()) != 0)
    return std::nullopt;
  return MemoryDir(path);
}

MemoryDir::~MemoryDir() {
  if (!path_.empty()) ::umount2(path_.c_str(), MNT_DETACH);
}

}  // namespace mvm::build
