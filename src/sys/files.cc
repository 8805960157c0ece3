// SPDX-License-Identifier: Apache-2.0
#include "sys/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cstdlib>
#include <utility>

#include "sys/io.h"

namespace mvm::sys {

Result<> write_atomic(const std::string& path, std::string_view text, unsigned mode,
                      Durability durability) {
  std::string temp = path + ".XXXXXX";
  UniqueFd fd(::mkostemp(temp.data(), O_CLOEXEC));
  if (!fd) return Error::from_errno("create " + path);
  ScopeGuard cleanup([&] { ::unlink(temp.c_str()); });
  MVM_TRY_CTX(write_full(fd.get(), text), "writing " + path);
  if (::fchmod(fd.get(), mode) != 0) return Error::from_errno("chmod " + path);
  if (durability == Durability::kSurvivesPowerCut && ::fsync(fd.get()) != 0)
    return Error::from_errno("fsync " + path);
  if (::rename(temp.c_str(), path.c_str()) != 0) return Error::from_errno("rename " + path);
  cleanup.dismiss();
  if (durability == Durability::kSurvivesPowerCut)
    MVM_TRY(sync_path(path.substr(0, path.find_last_of('/'))));
  return {};
}

Result<> sync_path(const std::string& path) {
  const UniqueFd fd = MVM_TRY(open_file(path, O_RDONLY));
  if (::fsync(fd.get()) != 0) return Error::from_errno("fsync " + path);
  return {};
}

namespace {

Result<bool> lock_fd(int fd, int operation, const std::string& path) {
  while (::flock(fd, operation) != 0) {
    if (errno == EWOULDBLOCK) return false;
    if (errno != EINTR) return Error::from_errno("lock " + path);
  }
  return true;
}

Result<UniqueFd> open_lock(const std::string& path) {
  return open_file(path, O_RDWR | O_CREAT, 0600);
}

}  // namespace

Result<FileLock> FileLock::acquire(const std::string& path) {
  UniqueFd fd = MVM_TRY(open_lock(path));
  MVM_TRY(lock_fd(fd.get(), LOCK_EX, path));
  return FileLock(std::move(fd));
}

Result<FileLock> FileLock::acquire_shared(const std::string& path) {
  UniqueFd fd = MVM_TRY(open_lock(path));
  MVM_TRY(lock_fd(fd.get(), LOCK_SH, path));
  return FileLock(std::move(fd));
}

Result<std::optional<FileLock>> FileLock::try_acquire(const std::string& path) {
  UniqueFd fd = MVM_TRY(open_lock(path));
  if (!MVM_TRY(lock_fd(fd.get(), LOCK_EX | LOCK_NB, path))) return std::optional<FileLock>();
  return std::optional<FileLock>(FileLock(std::move(fd)));
}

Result<bool> FileLock::is_held(const std::string& path) {
  auto fd = open_file(path, O_RDONLY);
  if (!fd && fd.error().code() == Errc::kNotFound) return false;
  if (!fd) return fd.error();
  // Shared, so that two who look at once do not take each other for the holder.
  return !MVM_TRY(lock_fd(fd->get(), LOCK_SH | LOCK_NB, path));
}

Result<TempDir> TempDir::create(const std::string& parent, const std::string& prefix) {
  std::string path = parent + "/" + prefix + "XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return Error::from_errno("mkdtemp " + path);
  return TempDir(std::move(path));
}

TempDir& TempDir::operator=(TempDir&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

TempDir::~TempDir() {
  if (!path_.empty()) (void)remove_tree(path_);
}

}  // namespace mvm::sys
