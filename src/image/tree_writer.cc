// SPDX-License-Identifier: Apache-2.0
#include "image/tree_writer.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>

#include "image/entry_path.h"
#include "image/tree_remove.h"

namespace mvm::image {

Result<TreeWriter> TreeWriter::create(const std::string& root) {
  sys::UniqueFd fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return Error::from_errno("open " + root);
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return Error::from_errno("stat " + root);
  TreeWriter writer(root, std::move(fd));
  MVM_TRY(writer.apply_root(Metadata{.mode = 0755}));
  return writer;
}

Error TreeWriter::failed(std::string_view call, const std::string& path, int errnum) const {
  const std::string what = "entry " + shown(path) + ": " + std::string(call);
  switch (errnum) {
    case ENOSPC:
    case EDQUOT:
      return Error::from_errno("no room below " + root_ + " for " + what, errnum)
          .with_hint("free some space, or set MVM_HOME to a directory on a larger disk");
    case ELOOP:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EXDEV:
    case EEXIST:
    case EINVAL:
    case ENOENT:
      return Error::from_errno(what, errnum).with_code(Errc::kCorrupt);
    case EPERM:
    case EACCES:
      return Error::from_errno(what, errnum)
          .with_hint("unpacking needs root or the package fakeroot, on a disk that allows it");
    default:
      return Error::from_errno(what, errnum);
  }
}

Result<sys::UniqueFd> TreeWriter::open_in_root(const std::string& path, int flags) const {
  struct open_how how = {};
  how.flags = static_cast<unsigned>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  for (;;) {
    const long fd =
        ::syscall(SYS_openat2, root_fd_.get(), path.empty() ? "." : path.c_str(), &how, sizeof how);
    if (fd >= 0) return sys::UniqueFd(static_cast<int>(fd));
    if (errno != EINTR && errno != EAGAIN) return Error::from_errno("openat2", errno);
  }
}

void TreeWriter::forget_parents() {
  cache_valid_ = false;
  cached_fd_.reset();
}

void TreeWriter::touch(const Parent& parent, std::string_view name) {
  if (lower_layers_) touched_.emplace(parent.inode, name);
}

void TreeWriter::remember_time(ino_t inode, const std::string& path, timespec mtime) {
  directory_times_[inode] = DirectoryTime{path, mtime};
}

void TreeWriter::begin_layer() {
  lower_layers_ = layers_++ > 0;
  touched_.clear();
  forget_parents();
}

Result<TreeWriter::Parent> TreeWriter::parent_of(std::string_view path) {
  const std::string parent(split_path(path).parent);
  if (cache_valid_ && parent == cached_path_) return cached_;
  return open_directory(parent);
}

Result<TreeWriter::Parent> TreeWriter::open_directory(const std::string& path) {
  // In an upper layer each ancestor counts as touched: an opaque whiteout above must spare the new
  // entry.
  if (lower_layers_ && !path.empty()) touch(MVM_TRY(parent_of(path)), split_path(path).name);
  auto fd = open_in_root(path, O_RDONLY | O_DIRECTORY);
  if (!fd.has_value() && (fd.error().errnum() == ENOENT || fd.error().errnum() == ENOTDIR) &&
      !path.empty()) {
    MVM_TRY(make_missing_directory(path));
    fd = open_in_root(path, O_RDONLY | O_DIRECTORY);
  }
  if (!fd.has_value()) return failed("open directory", path, fd.error().errnum());
  struct stat st;
  if (::fstat(fd->get(), &st) != 0) return failed("stat", path, errno);
  cached_path_ = path;
  cached_fd_ = std::move(*fd);
  cached_ = Parent{cached_fd_.get(), st.st_ino};
  cache_valid_ = true;
  return cached_;
}

// A directory that no entry describes: fixed metadata, so that the image does not depend on the
// clock. A file in its place is replaced; a dangling symbolic link is an error of the image.
Result<> TreeWriter::make_missing_directory(const std::string& path) {
  const Parent parent = MVM_TRY(parent_of(path));
  const std::string name(split_path(path).name);
  struct stat st;
  if (::fstatat(parent.fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode)) {
    return failed("open directory", path, ENOENT);
  }
  return make_directory(path, Metadata{.mode = 0755});
}

Result<> TreeWriter::clear_way(const Parent& parent, const std::string& path, bool want_directory) {
  const std::string name(split_path(path).name);
  struct stat st;
  if (::fstatat(parent.fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return failed("stat", path, errno);
  if (S_ISDIR(st.st_mode) && want_directory) return {};
  MVM_TRY(remove_at(parent.fd, name));
  return {};
}

Result<> TreeWriter::own(const Parent& parent, const std::string& path, const Metadata& meta,
                         bool symlink) {
  const std::string name(split_path(path).name);
  // Order matters: chown clears setuid bits and capabilities.
  if (::fchownat(parent.fd, name.c_str(), meta.uid, meta.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return failed("chown", path, errno);
  }
  if (!symlink && ::fchmodat(parent.fd, name.c_str(), meta.mode & 07777, 0) != 0) {
    return failed("chmod", path, errno);
  }
  const std::string by_fd = "/proc/self/fd/" + std::to_string(parent.fd) + "/" + name;
  for (const auto& [key, value] : meta.xattrs) {
    if (symlink && key.starts_with("user.")) continue;  // Linux has none on symbolic links
    if (::lsetxattr(by_fd.c_str(), key.c_str(), value.data(), value.size(), 0) != 0) {
      return failed("set attribute " + key, path, errno);
    }
  }
  const std::array<timespec, 2> times = {meta.mtime, meta.mtime};
  if (::utimensat(parent.fd, name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) {
    return failed("set time", path, errno);
  }
  return {};
}

Result<> TreeWriter::apply_root(const Metadata& meta) {
  struct stat st;
  const int fd = root_fd_.get();
  if (::fstat(fd, &st) != 0) return failed("stat", "/", errno);
  if (::fchown(fd, meta.uid, meta.gid) != 0) return failed("chown", "/", errno);
  if (::fchmod(fd, meta.mode & 07777) != 0) return failed("chmod", "/", errno);
  for (const auto& [key, value] : meta.xattrs) {
    if (::fsetxattr(fd, key.c_str(), value.data(), value.size(), 0) != 0) {
      return failed("set attribute " + key, "/", errno);
    }
  }
  remember_time(st.st_ino, "", meta.mtime);
  return {};
}

Result<> TreeWriter::make_directory(const std::string& path, const Metadata& meta) {
  if (path.empty()) return apply_root(meta);
  const Parent parent = MVM_TRY(parent_of(path));
  const std::string name(split_path(path).name);
  if (::mkdirat(parent.fd, name.c_str(), 0700) != 0) {
    if (errno != EEXIST) return failed("make directory", path, errno);
    MVM_TRY(clear_way(parent, path, true));
    if (::mkdirat(parent.fd, name.c_str(), 0700) != 0 && errno != EEXIST) {
      return failed("make directory", path, errno);
    }
  }
  MVM_TRY(own(parent, path, meta, false));
  struct stat st;
  if (::fstatat(parent.fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return failed("stat", path, errno);
  remember_time(st.st_ino, path, meta.mtime);
  touch(parent, name);
  return {};
}

Result<> TreeWriter::make_symlink(const std::string& path, const std::string& target,
                                  const Metadata& meta) {
  const Parent parent = MVM_TRY(parent_of(path));
  const std::string name(split_path(path).name);
  if (::symlinkat(target.c_str(), parent.fd, name.c_str()) != 0) {
    if (errno != EEXIST) return failed("make symbolic link", path, errno);
    MVM_TRY(clear_way(parent, path, false));
    if (::symlinkat(target.c_str(), parent.fd, name.c_str()) != 0)
      return failed("make symbolic link", path, errno);
  }
  touch(parent, name);
  return own(parent, path, meta, true);
}

Result<> TreeWriter::make_hard_link(const std::string& path, const std::string& target) {
  if (path == target) return failed("hard link to itself", path, EINVAL);
  const SplitPath from = split_path(target);
  auto from_dir = open_in_root(std::string(from.parent), O_PATH | O_DIRECTORY);
  if (!from_dir.has_value())
    return failed("hard link to " + shown(target), path, from_dir.error().errnum());
  const Parent parent = MVM_TRY(parent_of(path));
  const std::string name(split_path(path).name);
  const std::string from_name(from.name);
  struct stat st;
  if (::fstatat(from_dir->get(), from_name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return failed("hard link to " + shown(target), path, errno);
  }
  if (S_ISDIR(st.st_mode))
    return failed("hard link to the directory " + shown(target), path, EINVAL);
  if (::linkat(from_dir->get(), from_name.c_str(), parent.fd, name.c_str(), 0) != 0) {
    if (errno != EEXIST) return failed("hard link to " + shown(target), path, errno);
    struct stat there;
    if (::fstatat(parent.fd, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
        there.st_ino == st.st_ino) {
      touch(parent, name);
      return {};
    }
    MVM_TRY(clear_way(parent, path, false));
    if (::linkat(from_dir->get(), from_name.c_str(), parent.fd, name.c_str(), 0) != 0) {
      return failed("hard link to " + shown(target), path, errno);
    }
  }
  touch(parent, name);
  return {};
}

Result<> TreeWriter::make_node(const std::string& path, mode_t type, dev_t device,
                               const Metadata& meta) {
  const Parent parent = MVM_TRY(parent_of(path));
  const std::string name(split_path(path).name);
  if (::mknodat(parent.fd, name.c_str(), type | 0600, device) != 0) {
    if (errno != EEXIST) return failed("make device", path, errno);
    MVM_TRY(clear_way(parent, path, false));
    if (::mknodat(parent.fd, name.c_str(), type | 0600, device) != 0)
      return failed("make device", path, errno);
  }
  touch(parent, name);
  return own(parent, path, meta, false);
}

Result<sys::UniqueFd> TreeWriter::open_new_file(const std::string& path) {
  const Parent parent = MVM_TRY(parent_of(path));
  const std::string name(split_path(path).name);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  sys::UniqueFd file(::openat(parent.fd, name.c_str(), kFlags, 0600));
  if (!file) {
    if (errno != EEXIST) return failed("create", path, errno);
    MVM_TRY(clear_way(parent, path, false));
    file.reset(::openat(parent.fd, name.c_str(), kFlags, 0600));
    if (!file) return failed("create", path, errno);
  }
  touch(parent, name);
  return file;
}

Result<> TreeWriter::finish_file(const std::string& path, sys::UniqueFd file,
                                 const Metadata& meta) {
  const int fd = file.get();
  if (::fchown(fd, meta.uid, meta.gid) != 0) return failed("chown", path, errno);
  if (::fchmod(fd, meta.mode & 07777) != 0) return failed("chmod", path, errno);
  for (const auto& [key, value] : meta.xattrs) {
    if (::fsetxattr(fd, key.c_str(), value.data(), value.size(), 0) != 0) {
      return failed("set attribute " + key, path, errno);
    }
  }
  const std::array<timespec, 2> times = {meta.mtime, meta.mtime};
  if (::futimens(fd, times.data()) != 0) return failed("set time", path, errno);
  // Network and quota file systems report a failed write only here.
  if (::close(file.release()) != 0) return failed("close", path, errno);
  return {};
}

Result<> TreeWriter::finish() {
  forget_parents();
  for (const auto& [inode, directory] : directory_times_) {
    auto fd = open_in_root(directory.path, O_RDONLY | O_DIRECTORY);
    struct stat st;
    // Replaced or hidden by a later layer: whoever made its successor remembered that one.
    if (!fd.has_value() || ::fstat(fd->get(), &st) != 0 || st.st_ino != inode) continue;
    const std::array<timespec, 2> times = {directory.mtime, directory.mtime};
    if (::futimens(fd->get(), times.data()) != 0) return failed("set time", directory.path, errno);
  }
  return {};
}

}  // namespace mvm::image
