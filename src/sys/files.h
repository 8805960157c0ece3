// SPDX-License-Identifier: Apache-2.0
// Files that must be whole or absent: atomic replacement, locks, temporary directories.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "sys/unique_fd.h"

namespace mvm::sys {

// Writes `path` so that a reader or a crash sees the old or the new content, never a part:
// temporary file beside it, (fsync), rename.
enum class Durability { kSurvivesCrash, kSurvivesPowerCut };
Result<> write_atomic(const std::string& path, std::string_view text, unsigned mode = 0600,
                      Durability durability = Durability::kSurvivesCrash);

// fsync of a file or directory.
Result<> sync_path(const std::string& path);

// flock(2) on a file, created when missing; released when the object goes or the process dies.
class FileLock {
 public:
  // Waits for the lock.
  static Result<FileLock> acquire(const std::string& path);
  // Nothing when somebody else holds it.
  static Result<std::optional<FileLock>> try_acquire(const std::string& path);
  // Whether somebody holds it exclusively; takes nothing and creates nothing. False when the file
  // is not there.
  static Result<bool> is_held(const std::string& path);
  // Shared with other holders of shared locks.
  static Result<FileLock> acquire_shared(const std::string& path);

  int fd() const { return fd_.get(); }

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// A fresh directory, removed with everything in it unless kept.
class TempDir {
 public:
  // Makes `parent`/`prefix`XXXXXX with mode 0700.
  static Result<TempDir> create(const std::string& parent, const std::string& prefix);
  TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempDir& operator=(TempDir&& other) noexcept;
  ~TempDir();

  const std::string& path() const { return path_; }
  // Leaves the directory in place.
  std::string keep() { return std::exchange(path_, {}); }

 private:
  explicit TempDir(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Runs a function on leaving the scope unless dismissed.
template <class F>
class ScopeGuard {
 public:
  explicit ScopeGuard(F function) : function_(std::move(function)) {}
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;
  ~ScopeGuard() {
    if (armed_) function_();
  }
  void dismiss() { armed_ = false; }

 private:
  F function_;
  bool armed_ = true;
};

}  // namespace mvm::sys
