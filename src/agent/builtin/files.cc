// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <memory>

#include "agent/builtin/builtins.h"
#include "sys/io.h"

namespace mvm::agent::builtin {
namespace {

wire::FileType type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return wire::FileType::kDirectory;
    case S_IFLNK:
      return wire::FileType::kSymlink;
    case S_IFBLK:
      return wire::FileType::kBlock;
    case S_IFCHR:
      return wire::FileType::kCharacter;
    case S_IFIFO:
      return wire::FileType::kFifo;
    case S_IFSOCK:
      return wire::FileType::kSocket;
    default:
      return wire::FileType::kRegular;
  }
}

std::string read_link(int dir, const std::string& path) {
  std::array<char, PATH_MAX> target;
  const ssize_t n = ::readlinkat(dir, path.c_str(), target.data(), target.size());
  return n < 0 ? std::string() : std::string(target.data(), static_cast<std::size_t>(n));
}

Result<wire::FileInfo> describe(int dir, const std::string& path, const std::string& name,
                                bool follow) {
  struct stat st;
  if (::fstatat(dir, path.c_str(), &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0)
    return Error::from_errno("stat " + path);
  wire::FileInfo info;
  info.name = name;
  info.type = type_of(st.st_mode);
  info.mode = st.st_mode & 07777;
  info.uid = st.st_uid;
  info.gid = st.st_gid;
  info.size_bytes = static_cast<std::uint64_t>(st.st_size);
  info.mtime_ns = st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec;
  if (info.type == wire::FileType::kSymlink) info.link_target = read_link(dir, path);
  return info;
}

std::string base_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const std::size_t slash = path.find_last_of('/');
  return path == "/" || slash == std::string::npos ? path : path.substr(slash + 1);
}

Result<> copy(int from, int to) {
  std::vector<std::byte> buffer(128 * 1024);
  for (;;) {
    const std::size_t n = MVM_TRY(sys::read_some(from, buffer));
    if (n == 0) return {};
    MVM_TRY(sys::write_full(to, std::span(buffer).first(n)));
  }
}

}  // namespace

int report(const Result<>& result) {
  if (result) return 0;
  [[maybe_unused]] const auto ignored = sys::write_full(2, result.error().text() + "\n");
  return result.error().errnum() > 0 && result.error().errnum() < 125 ? result.error().errnum() : 1;
}

Result<> stat(const wire::FileRequest& request) {
  const wire::FileInfo info =
      MVM_TRY(describe(AT_FDCWD, request.path, base_name(request.path), request.follow));
  return sys::write_full(1, wire::record(wire::encode(info)));
}

Result<> list(const wire::FileRequest& request) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(request.path.c_str()), ::closedir);
  if (!dir) return Error::from_errno("list " + request.path);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  std::string out;
  for (const std::string& name : names) {
    const auto info = describe(::dirfd(dir.get()), name, name, false);
    if (!info) continue;  // deleted meanwhile
    out += wire::record(wire::encode(*info));
    if (out.size() < wire::kMaxDataChunk) continue;
    MVM_TRY(sys::write_full(1, out));
    out.clear();
  }
  return sys::write_full(1, out);
}

Result<> read(const wire::FileRequest& request) {
  const sys::UniqueFd file = MVM_TRY(sys::open_file(request.path, O_RDONLY | O_NOCTTY));
  return copy(file.get(), 1);
}

Result<> write(const wire::FileRequest& request, const Owner& owner) {
  const mode_t mode = request.mode & 07777;
  // O_EXCL first tells a new file, which gets mode and owner, from one that keeps its own.
  auto made = sys::open_file(request.path, O_WRONLY | O_CREAT | O_EXCL | O_NOCTTY, mode);
  if (!made && made.error().errnum() != EEXIST) return made.error();
  const bool fresh = made.has_value();
  const sys::UniqueFd file =
      fresh ? std::move(*made)
            : MVM_TRY(sys::open_file(request.path, O_WRONLY | O_TRUNC | O_NOCTTY));
  if (owner.set && ::fchown(file.get(), owner.uid, owner.gid) != 0)
    return Error::from_errno("chown " + request.path);
  if (fresh && ::fchmod(file.get(), mode) != 0) return Error::from_errno("chmod " + request.path);
  MVM_TRY_CTX(copy(0, file.get()), "writing " + request.path);
  return {};
}

}  // namespace mvm::agent::builtin
