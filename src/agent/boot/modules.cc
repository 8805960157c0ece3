// SPDX-License-Identifier: Apache-2.0
#include "agent/boot/modules.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/io.h"

namespace mvm::agent {

Result<std::vector<ModuleEntry>> parse_module_order(std::string_view text) {
  std::vector<ModuleEntry> out;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty()) continue;
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
        line.find('/') != std::string_view::npos)
      return Error(Errc::kCorrupt, "initramfs: line '" + std::string(line) +
                                       "' of modules/order is not GROUP FILE");
    out.push_back({std::string(line.substr(0, space)), std::string(line.substr(space + 1))});
  }
  return out;
}

Result<> load_modules(int root, const std::vector<ModuleEntry>& modules, std::string_view group) {
  for (const ModuleEntry& module : modules) {
    if (module.group != group) continue;
    const sys::UniqueFd file =
        MVM_TRY_CTX(sys::open_file_at(root, "modules/" + module.file, O_RDONLY),
                    "loading kernel module " + module.file);
    if (::syscall(SYS_finit_module, file.get(), "", 0) != 0 && errno != EEXIST)
      return Error::from_errno("loading kernel module " + module.file);
  }
  return {};
}

void forget_modules(int root, const std::vector<ModuleEntry>& modules) {
  for (const ModuleEntry& module : modules) ::unlinkat(root, ("modules/" + module.file).c_str(), 0);
}

}  // namespace mvm::agent
