// SPDX-License-Identifier: Apache-2.0
#include "image/tree_remove.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "sys/unique_fd.h"

namespace mvm::image {

Result<std::vector<std::string>> names_in(int dir) {
  // A second descriptor: closedir() closes the one it was given, and the position is its own.
  sys::UniqueFd again(::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!again) return Error::from_errno("open directory");
  struct CloseDir {
    void operator()(DIR* stream) const { ::closedir(stream); }
  };
  const std::unique_ptr<DIR, CloseDir> stream(::fdopendir(again.get()));
  if (stream == nullptr) return Error::from_errno("read directory");
  (void)again.release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) return Error::from_errno("read directory");
  std::sort(names.begin(), names.end());
  return names;
}

Result<> remove_at(int dir, const std::string& name) {
  if (::unlinkat(dir, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return Error::from_errno("remove " + name);
  {
    sys::UniqueFd child(
        ::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!child) return Error::from_errno("remove " + name);
    for (const std::string& below : MVM_TRY(names_in(child.get())))
      MVM_TRY(remove_at(child.get(), below));
  }
  if (::unlinkat(dir, name.c_str(), AT_REMOVEDIR) != 0) return Error::from_errno("remove " + name);
  return {};
}

}  // namespace mvm::image
