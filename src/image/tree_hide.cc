// SPDX-License-Identifier: Apache-2.0
// Whiteouts: the part of TreeWriter that removes what lower layers made.
#include <fcntl.h>
#include <sys/stat.h>

#include "image/entry_path.h"
#include "image/tree_remove.h"
#include "image/tree_writer.h"

namespace mvm::image {

Result<> TreeWriter::hide_entry(int dir, ino_t inode, const std::string& name,
                                const std::string& path) {
  if (!touched_.contains({inode, name})) return remove_at(dir, name);
  // Made by this layer too: a directory still loses what lower layers had in it.
  sys::UniqueFd child(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st;
  if (!child || ::fstat(child.get(), &st) != 0) return {};
  return hide_below(child.get(), st.st_ino, path);
}

Result<> TreeWriter::hide_below(int dir, ino_t inode, const std::string& path) {
  for (const std::string& name : MVM_TRY(names_in(dir))) {
    MVM_TRY(hide_entry(dir, inode, name, path + "/" + name));
  }
  return {};
}

Result<> TreeWriter::hide(const std::string& path) {
  if (!lower_layers_) return {};
  const SplitPath split = split_path(path);
  // Opened without making anything: a whiteout for a path that never was is harmless.
  auto parent = open_in_root(std::string(split.parent), O_RDONLY | O_DIRECTORY);
  struct stat st;
  if (!parent.has_value() || ::fstat(parent->get(), &st) != 0) return {};
  forget_parents();
  const std::string name(split.name);
  if (::fstatat(parent->get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return {};
  if (::fstat(parent->get(), &st) != 0) return failed("stat", path, errno);
  return hide_entry(parent->get(), st.st_ino, name, path);
}

Result<> TreeWriter::hide_children(const std::string& path) {
  if (!lower_layers_) return {};
  auto dir = open_in_root(path, O_RDONLY | O_DIRECTORY);
  struct stat st;
  if (!dir.has_value() || ::fstat(dir->get(), &st) != 0) return {};
  forget_parents();
  return hide_below(dir->get(), st.st_ino, path);
}

}  // namespace mvm::image
