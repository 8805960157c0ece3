// SPDX-License-Identifier: Apache-2.0
// What a machine has changed, read from the overlay's upper directory. Source: the kernel's
// Documentation/filesystems/overlayfs.rst (whiteouts and opaque directories).
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <vector>

#include "agent/builtin/builtins.h"
#include "sys/io.h"

namespace mvm::agent::builtin {
namespace {

// Made by the agent where the image lacks them: places to mount on. Empty ones are nobody's change.
constexpr std::array<std::string_view, 9> kOurs = {
    "/dev",          "/proc",           "/sys", "/run", "/tmp", "/etc", "/etc/hosts",
    "/etc/hostname", "/etc/resolv.conf"};

using Emit = std::function<Result<>(const wire::DiffEntry&)>;

bool is_whiteout(const struct stat& st) {
  return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
}

bool is_opaque(int dir) {
  char value = 0;
  return ::fgetxattr(dir, "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

Result<std::vector<std::string>> names_in(int dir, const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(
      ::fdopendir(::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), ::closedir);
  if (!stream) return Error::from_errno("list " + path);
  std::vector<std::string> out;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") out.emplace_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

class Walk {
 public:
  explicit Walk(const Emit& emit) : emit_(emit) {}

  // `lower` is -1 where the image has no such directory. A directory that exists in both is told
  // when something in it changed, so it waits in `pending_` until then.
  Result<> directory(int upper, int lower, const std::string& path) {
    const bool opaque = is_opaque(upper);
    const int below = opaque ? -1 : lower;
    const auto names = MVM_TRY(names_in(upper, path));
    for (const std::string& name : names) MVM_TRY(entry(upper, below, path, name));
    if (opaque && lower >= 0) MVM_TRY(hidden(upper, lower, path));
    return {};
  }

 private:
  Result<> tell(wire::DiffKind kind, const std::string& path) {
    for (const std::string& parent : pending_) MVM_TRY(emit_({wire::DiffKind::kChanged, parent}));
    pending_.clear();
    return emit_({kind, path});
  }

  // An opaque directory replaces the image's: what is not in it any more was deleted.
  Result<> hidden(int upper, int lower, const std::string& path) {
    const auto names = MVM_TRY(names_in(lower, path));
    struct stat st;
    for (const std::string& name : names) {
      if (::fstatat(upper, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        MVM_TRY(tell(wire::DiffKind::kDeleted, path + "/" + name));
    }
    return {};
  }

  Result<> entry(int upper, int lower, const std::string& parent, const std::string& name) {
    const std::string path = parent + "/" + name;
    struct stat now;
    struct stat before;
    if (::fstatat(upper, name.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0)
      return {};  // deleted meanwhile
    const bool existed =
        lower >= 0 && ::fstatat(lower, name.c_str(), &before, AT_SYMLINK_NOFOLLOW) == 0;
    if (is_whiteout(now)) return existed ? tell(wire::DiffKind::kDeleted, path) : Result<>();
    const bool ours = std::find(kOurs.begin(), kOurs.end(), path) != kOurs.end();
    if (!S_ISDIR(now.st_mode)) {
      if (ours && !existed && now.st_size == 0) return {};
      return tell(existed ? wire::DiffKind::kChanged : wire::DiffKind::kAdded, path);
    }
    const bool same = existed && S_ISDIR(before.st_mode) && now.st_mode == before.st_mode &&
                      now.st_uid == before.st_uid && now.st_gid == before.st_gid;
    const bool quiet = same || (ours && !existed);
    if (!quiet) MVM_TRY(tell(existed ? wire::DiffKind::kChanged : wire::DiffKind::kAdded, path));
    return descend(upper, existed && S_ISDIR(before.st_mode) ? lower : -1, path, name, same);
  }

  Result<> descend(int upper, int lower, const std::string& path, const std::string& name,
                   bool announce) {
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    const sys::UniqueFd here = MVM_TRY(sys::open_file_at(upper, name, flags));
    sys::UniqueFd below;
    if (lower >= 0) below = MVM_TRY(sys::open_file_at(lower, name, flags));
    if (announce) pending_.push_back(path);
    MVM_TRY(directory(here.get(), below.get(), path));
    if (announce && !pending_.empty() && pending_.back() == path) pending_.pop_back();
    return {};
  }

  const Emit& emit_;
  std::vector<std::string> pending_;
};

}  // namespace

Result<> walk_diff(int upper, int lower, const Emit& emit) {
  return Walk(emit).directory(upper, lower, "");
}

Result<> diff(int upper, int lower) {
  if (upper < 0 || lower < 0)
    return Error(Errc::kUnsupported, "this guest has no overlay to compare");
  std::string out;
  MVM_TRY(walk_diff(upper, lower, [&out](const wire::DiffEntry& entry) -> Result<> {
    out += wire::record(wire::encode(entry));
    if (out.size() < wire::kMaxDataChunk) return {};
    MVM_TRY(sys::write_full(1, out));
    out.clear();
    return {};
  }));
  return sys::write_full(1, out);
}

}  // namespace mvm::agent::builtin
