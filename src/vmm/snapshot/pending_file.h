// SPDX-License-Identifier: Apache-2.0
// A file that has no name until it is complete, so that a crash leaves the old file or the new one
// and nothing else: O_TMPFILE where the file system has it, a temporary name beside it otherwise.
//
// Durability: sync() puts the content on the disk, commit() the name.
#pragma once

#include <string>

#include "core/result.h"
#include "sys/unique_fd.h"

namespace mvm::vmm {

class PendingFile {
 public:
  // Mode 0600. Errors: those of open.
  static Result<PendingFile> create(std::string path);

  PendingFile(PendingFile&& other) noexcept;
  PendingFile& operator=(PendingFile&&) = delete;
  // Without commit() nothing is left.
  ~PendingFile();

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  Result<> sync();
  // Gives the file its name, in the place of what has it. To be called once, after sync().
  Result<> commit();

 private:
  PendingFile(std::string path, sys::UniqueFd fd, std::string temp)
      : path_(std::move(path)), fd_(std::move(fd)), temp_(std::move(temp)) {}
  Result<> give_name();

  std::string path_;
  sys::UniqueFd fd_;
  std::string temp_;  // empty: the file has no name at all
};

}  // namespace mvm::vmm
