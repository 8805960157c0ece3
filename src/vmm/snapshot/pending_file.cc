// SPDX-License-Identifier: Apache-2.0
#include "vmm/snapshot/pending_file.h"

#include <fcntl.h>
#include <stdlib.h>  // NOLINT(modernize-deprecated-headers): mkostemp
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "sys/io.h"
#include "sys/random.h"

namespace mvm::vmm {
namespace {

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string link_of(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

bool link_named(int fd, const std::string& name) {
  return ::linkat(AT_FDCWD, link_of(fd).c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
}

}  // namespace

Result<PendingFile> PendingFile::create(std::string path) {
  sys::UniqueFd fd(
      ::open(directory_of(path).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR));
  // Without /proc it could not be given a name.
  if (fd && ::access(link_of(fd.get()).c_str(), F_OK) == 0)
    return PendingFile(std::move(path), std::move(fd), {});
  std::string temp = path + ".XXXXXX";
  fd.reset(::mkostemp(temp.data(), O_CLOEXEC));
  if (!fd) return Error::from_errno("create " + path);
  return PendingFile(std::move(path), std::move(fd), std::move(temp));
}

PendingFile::PendingFile(PendingFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::move(other.fd_)),
      temp_(std::exchange(other.temp_, {})) {}

PendingFile::~PendingFile() {
  if (!temp_.empty()) ::unlink(temp_.c_str());
}

Result<> PendingFile::sync() {
  if (::fsync(fd_.get()) != 0) return Error::from_errno("fsync " + path_);
  return {};
}

Result<> PendingFile::give_name() {
  if (temp_.empty()) {
    if (link_named(fd_.get(), path_)) return {};
    if (errno != EEXIST) return Error::from_errno("link " + path_);
    // Only rename(2) replaces; it needs a name to start from.
    temp_ = path_ + "." + sys::random_hex(6);
    if (!link_named(fd_.get(), temp_)) {
      const int failure = errno;
      temp_.clear();
      return Error::from_errno("link " + path_, failure);
    }
  }
  if (::rename(temp_.c_str(), path_.c_str()) != 0) return Error::from_errno("rename " + path_);
  temp_.clear();
  return {};
}

Result<> PendingFile::commit() {
  MVM_TRY(give_name());
  const std::string directory = directory_of(path_);
  const sys::UniqueFd fd = MVM_TRY(sys::open_file(directory, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return Error::from_errno("fsync " + directory);
  return {};
}

}  // namespace mvm::vmm
