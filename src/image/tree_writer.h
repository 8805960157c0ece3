// SPDX-License-Identifier: Apache-2.0
// Makes files below one directory and nowhere else, whatever names and symbolic links an image
// contains.
//
// Parents are opened with openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS), so that an absolute or
// climbing symbolic link leads back into the tree, as it will in the guest; the last name is then
// created with O_EXCL | O_NOFOLLOW. Ownership, nodes and attributes go through the libc functions
// that fakeroot intercepts, so that the same code works for an unprivileged user under fakeroot.
// Errors: kCorrupt naming the entry when the image asks for the impossible; kNoSpace naming the
// tree. Source: openat2(2).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/result.h"
#include "sys/unique_fd.h"

namespace mvm::image {

// What every kind of entry has.
struct Metadata {
  mode_t mode = 0644;  // permission bits with setuid, setgid, sticky
  uid_t uid = 0;
  gid_t gid = 0;
  timespec mtime = {};
  std::map<std::string, std::string> xattrs = {};  // set in this order: it shows in the image
};

class TreeWriter {
 public:
  // `root` must exist; it is opened once and everything is relative to that descriptor.
  static Result<TreeWriter> create(const std::string& root);

  // Paths are those of entry_path(). Missing parents are made: 0755, root, time 0. What is in the
  // way is replaced.
  Result<> make_directory(const std::string& path, const Metadata& meta);
  Result<> make_symlink(const std::string& path, const std::string& target, const Metadata& meta);
  Result<> make_hard_link(const std::string& path, const std::string& target);
  // Devices, FIFOs and sockets; `type` is S_IFCHR and so on.
  Result<> make_node(const std::string& path, mode_t type, dev_t device, const Metadata& meta);
  // An empty file, open for writing; finish_file() then sets its metadata.
  Result<sys::UniqueFd> open_new_file(const std::string& path);
  Result<> finish_file(const std::string& path, sys::UniqueFd file, const Metadata& meta);

  // From here on entries belong to a new layer; hide() and hide_children() spare them.
  void begin_layer();
  // Whiteout: removes what lower layers put at `path`.
  Result<> hide(const std::string& path);
  // Opaque whiteout: removes what lower layers put into the directory `path`.
  Result<> hide_children(const std::string& path);

  // Sets the times of directories, which every creation below them has changed. Call it once, last.
  Result<> finish();

 private:
  struct Parent {
    int fd = -1;
    ino_t inode = 0;
  };
  struct DirectoryTime {
    std::string path;
    timespec mtime;
  };
  using TouchKey = std::pair<ino_t, std::string>;

  TreeWriter(std::string root, sys::UniqueFd fd)
      : root_(std::move(root)), root_fd_(std::move(fd)) {}

  Result<sys::UniqueFd> open_in_root(const std::string& path, int flags) const;
  // The directory that holds `path`, made when missing; valid until the next call.
  Result<Parent> parent_of(std::string_view path);
  Result<Parent> open_directory(const std::string& path);
  Result<> make_missing_directory(const std::string& path);
  // Removes what is at the name unless it is a directory and one is wanted.
  Result<> clear_way(const Parent& parent, const std::string& path, bool want_directory);
  Result<> own(const Parent& parent, const std::string& path, const Metadata& meta, bool symlink);
  Result<> hide_entry(int dir, ino_t inode, const std::string& name, const std::string& path);
  Result<> hide_below(int dir, ino_t inode, const std::string& path);
  Result<> apply_root(const Metadata& meta);
  void remember_time(ino_t inode, const std::string& path, timespec mtime);
  void touch(const Parent& parent, std::string_view name);
  void forget_parents();
  Error failed(std::string_view call, const std::string& path, int errnum) const;

  std::string root_;
  sys::UniqueFd root_fd_;
  // The last parent: archives list a directory's entries together.
  std::string cached_path_;
  sys::UniqueFd cached_fd_;
  Parent cached_;
  bool cache_valid_ = false;
  std::unordered_map<ino_t, DirectoryTime> directory_times_;
  bool lower_layers_ = false;  // there is something a whiteout could hide
  int layers_ = 0;
  std::set<TouchKey> touched_;  // what this layer made, by (inode of the directory, name)
};

}  // namespace mvm::image
