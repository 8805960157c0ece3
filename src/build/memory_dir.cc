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

}  // namespace

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
  const Bytes most = memory_to_spare(sys::read_file("/proc/meminfo").value_or(""));
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
