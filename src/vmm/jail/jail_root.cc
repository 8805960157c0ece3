// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/jail_root.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "sys/io.h"

namespace mvm::vmm {
namespace {

constexpr int kHere = AT_EMPTY_PATH;
constexpr unsigned kRecursive = 0x8000;  // AT_RECURSIVE, which the C library hides behind a macro

Error failed(const std::string& what) {
  Error error = Error::from_errno(what);
  if (error.errnum() != ENOSYS) return error;
  return std::move(error).with_hint("a jail needs Linux 5.12 or newer");
}

bool is_plain_absolute(std::string_view path) {
  if (path.size() < 2 || path.front() != '/' || path.back() == '/') return false;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view part = path.substr(0, path.find('/'));
    if (part.empty() || part == "." || part == "..") return false;
    path.remove_prefix(part.size());
  }
  return true;
}

Result<sys::UniqueFd> clone_tree(const std::string& path, bool with_mounts_below) {
  const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (with_mounts_below ? kRecursive : 0);
  sys::UniqueFd tree(::open_tree(AT_FDCWD, path.c_str(), flags));
  if (!tree) return failed(path);
  return tree;
}

Result<> set_attributes(int tree, std::uint64_t attributes, const std::string& name,
                        unsigned flags = kRecursive) {
  mount_attr attr{};
  attr.attr_set = attributes;
  if (::mount_setattr(tree, "", kHere | flags, &attr, sizeof attr) != 0)
    return failed("mount_setattr " + name);
  return {};
}

// A file system in memory, small: it holds names and mount points only.
Result<sys::UniqueFd> make_memory_root() {
  const sys::UniqueFd context(::fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context) return failed("fsopen tmpfs");
  for (const auto& [key, value] :
       {std::pair("mode", "0755"), {"size", "1m"}, {"nr_inodes", "1k"}}) {
    if (::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value, 0) != 0)
      return failed("fsconfig tmpfs");
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return failed("fsconfig tmpfs");
  sys::UniqueFd root(
      ::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
  if (!root) return failed("fsmount tmpfs");
  return root;
}

Result<sys::UniqueFd> open_root(const std::string& path) {
  if (path.empty()) return make_memory_root();
  sys::UniqueFd root = MVM_TRY(clone_tree(path, false));
  MVM_TRY(set_attributes(root.get(), MOUNT_ATTR_NOSUID, path, 0));
  return root;
}

Result<bool> is_directory(int fd) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return Error::from_errno("fstat");
  return S_ISDIR(st.st_mode);
}

}  // namespace

Result<> validate_root(const JailConfig& config) {
  std::vector<std::string> places;
  for (const JailEntry& entry : config.entries)
    places.push_back(entry.inside.empty() ? entry.path : entry.inside);
  for (const JailDevice& device : config.devices) places.push_back(device.path);
  for (const std::string& place : places) {
    if (!is_plain_absolute(place))
      return Error(Errc::kInvalidArgument, "'" + place + "' is no absolute path for inside a jail")
          .with_hint("start at / and leave out '.', '..' and doubled slashes");
  }
  for (const std::string& directory : config.directories) {
    if (directory != "/" && !is_plain_absolute(directory))
      return Error(Errc::kInvalidArgument, "'" + directory + "' is no absolute path");
  }
  // What lies in a directory of the host would be made there, on the host.
  std::ranges::sort(places);
  for (std::size_t i = 0; i + 1 < places.size(); ++i) {
    const auto within = [&](const std::string& other) {
      return other == places[i] || other.starts_with(places[i] + "/");
    };
    const auto found =
        std::find_if(places.begin() + static_cast<std::ptrdiff_t>(i) + 1, places.end(), within);
    if (found != places.end())
      return Error(Errc::kInvalidArgument, "jail: " + *found + " lies within " + places[i]);
  }
  return {};
}

Result<JailRoot> JailRoot::create(const JailConfig& config, std::optional<JailOwner> owner) {
  // Neither side hears of the other's mounts any more.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return Error::from_errno("making mounts private");
  sys::UniqueFd root = MVM_TRY(open_root(config.root));
  if (::move_mount(root.get(), "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return failed("mounting the root");
  return JailRoot(std::move(root), owner);
}

Result<> JailRoot::own(int dir, const char* name) {
  if (!owner_) return {};
  if (::fchownat(dir, name, owner_->uid, owner_->gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0)
    return Error::from_errno("chown " + std::string(name));
  return {};
}

// The directory that `path` lies in, made where it is missing.
Result<sys::UniqueFd> JailRoot::parent_of(std::string_view path) {
  sys::UniqueFd dir = MVM_TRY(sys::duplicate(root_.get()));
  for (path.remove_prefix(1); path.find('/') != path.npos;) {
    const std::string part(path.substr(0, path.find('/')));
    if (::mkdirat(dir.get(), part.c_str(), 0755) != 0 && errno != EEXIST)
      return Error::from_errno("mkdir " + part);
    dir = MVM_TRY(sys::open_file_at(dir.get(), part, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    path.remove_prefix(part.size() + 1);
  }
  return dir;
}

// Mounts `tree` at `inside`, on an empty file or directory made for it.
Result<> JailRoot::place(int tree, const std::string& inside, bool directory) {
  const sys::UniqueFd parent = MVM_TRY(parent_of(inside));
  const std::string name = inside.substr(inside.find_last_of('/') + 1);
  const int rc = directory ? ::mkdirat(parent.get(), name.c_str(), 0755)
                           : ::mknodat(parent.get(), name.c_str(), S_IFREG | 0600, 0);
  if (rc != 0 && errno != EEXIST) return Error::from_errno("making " + inside);
  const sys::UniqueFd target = MVM_TRY(sys::open_file_at(parent.get(), name, O_PATH | O_NOFOLLOW));
  const unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  if (::move_mount(tree, "", target.get(), "", flags) != 0) return failed("mounting " + inside);
  return {};
}

Result<> JailRoot::add(const JailEntry& entry) {
  const std::string inside = entry.inside.empty() ? entry.path : entry.inside;
  sys::UniqueFd tree = MVM_TRY(clone_tree(entry.path, true));
  std::uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (!entry.executable) attributes |= MOUNT_ATTR_NOEXEC;
  if (entry.access == JailEntry::Access::kReadOnly) attributes |= MOUNT_ATTR_RDONLY;
  MVM_TRY(set_attributes(tree.get(), attributes, entry.path));
  return place(tree.get(), inside, MVM_TRY(is_directory(tree.get())));
}

// False when we may not make nodes here.
Result<bool> JailRoot::make_node(const std::string& path, dev_t device) {
  const sys::UniqueFd parent = MVM_TRY(parent_of(path));
  const std::string name = path.substr(path.find_last_of('/') + 1);
  if (::mknodat(parent.get(), name.c_str(), S_IFCHR | 0600, device) != 0) {
    if (errno == EPERM) return false;
    if (errno != EEXIST) return Error::from_errno("mknod " + path);
    struct stat st;
    if (::fstatat(parent.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      return Error::from_errno("stat " + path);
    if (!S_ISCHR(st.st_mode) || st.st_rdev != device)
      return Error(Errc::kAlreadyExists, "the jail's root has another " + path + " already");
  }
  MVM_TRY(own(parent.get(), name.c_str()));
  return true;
}

Result<> JailRoot::add(const JailDevice& device) {
  struct stat st;
  if (::stat(device.path.c_str(), &st) != 0) {
    if (errno == ENOENT && !device.required) return {};
    return Error::from_errno(device.path);
  }
  if (!S_ISCHR(st.st_mode))
    return Error(Errc::kInvalidArgument, device.path + " is not a character device");
  if (owner_ && MVM_TRY(make_node(device.path, st.st_rdev))) return {};
  const sys::UniqueFd tree = MVM_TRY(clone_tree(device.path, false));
  MVM_TRY(set_attributes(tree.get(), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, device.path));
  return place(tree.get(), device.path, false);
}

Result<> JailRoot::add_directory(const std::string& path) {
  if (path == "/") return own(root_.get(), "");
  const sys::UniqueFd parent = MVM_TRY(parent_of(path));
  const std::string name = path.substr(path.find_last_of('/') + 1);
  if (::mkdirat(parent.get(), name.c_str(), 0700) != 0 && errno != EEXIST)
    return Error::from_errno("mkdir " + path);
  return own(parent.get(), name.c_str());
}

Result<> JailRoot::make_read_only() {
  return set_attributes(root_.get(), MOUNT_ATTR_RDONLY, "/", 0);
}

Result<> JailRoot::enter() {
  if (::fchdir(root_.get()) != 0) return Error::from_errno("fchdir to the root");
  // With both names the same the old root is put upon the new one, and lies there until the next
  // line.
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return Error::from_errno("pivot_root");
  if (::umount2(".", MNT_DETACH) != 0) return Error::from_errno("unmounting the host's root");
  if (::chdir("/") != 0) return Error::from_errno("chdir /");
  root_.reset();
  return {};
}

}  // namespace mvm::vmm
