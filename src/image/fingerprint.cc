// SPDX-License-Identifier: Apache-2.0
#include "image/fingerprint.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "image/tree_remove.h"
#include "sys/io.h"
#include "sys/sha256.h"

namespace mvm::image {
namespace {

std::string mark(const struct stat& st) {
  std::string out;
  const auto add = [&](auto number) { out += std::to_string(number) + ","; };
  add(st.st_dev);
  add(st.st_ino);
  add(st.st_mode);
  add(st.st_uid);
  add(st.st_gid);
  add(st.st_rdev);
  add(st.st_size);
  add(st.st_mtim.tv_sec);
  add(st.st_mtim.tv_nsec);
  add(st.st_ctim.tv_sec);
  add(st.st_ctim.tv_nsec);
  return out;
}

Result<> walk(int dir, const std::string& path, sys::Sha256& hash) {
  for (const std::string& name : MVM_TRY_CTX(names_in(dir), path)) {
    struct stat st;
    if (::fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      return Error::from_errno("stat " + path + "/" + name);
    }
    hash.update(name);
    hash.update(std::string_view("\0", 1));
    hash.update(mark(st));
    if (!S_ISDIR(st.st_mode)) continue;
    const sys::UniqueFd child(
        ::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!child) return Error::from_errno("open " + path + "/" + name);
    MVM_TRY(walk(child.get(), path + "/" + name, hash));
    hash.update("up\n");
  }
  return {};
}

}  // namespace

Result<std::string> file_fingerprint(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return Error::from_errno("open " + path);
  return "stat:" + sys::sha256_hex(mark(st));
}

Result<std::string> directory_fingerprint(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return Error::from_errno("open " + path);
  if (!S_ISDIR(st.st_mode)) {
    return Error(Errc::kInvalidArgument, path + " is not a directory")
        .with_hint("for an archive use tar:" + path);
  }
  const sys::UniqueFd dir = MVM_TRY(sys::open_file(path, O_RDONLY | O_DIRECTORY));
  sys::Sha256 hash;
  hash.update(mark(st));
  MVM_TRY(walk(dir.get(), path, hash));
  return "tree:" + hash.finish();
}

}  // namespace mvm::image
