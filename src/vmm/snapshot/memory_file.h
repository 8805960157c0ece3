// SPDX-License-Identifier: Apache-2.0
// An existing memory file: opened, checked in constant time and locked against writers in place.
// The format, and why the content has no digest, is docs/formats/snapshot.md.
//
// Threads: none of its own; an object belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/units.h"
#include "sys/unique_fd.h"
#include "vmm/snapshot/memory_trailer.h"
#include "vmm/snapshot/state_file.h"

namespace mvm::vmm {

class MemoryFile {
 public:
  // A full or diff file. Holds a shared lock until it goes: keep it for as long as a mapping of
  // fd() is used. Errors: kCorrupt and kUnsupported as MemoryTrailer::parse, kBusy while it is
  // being written, those of open.
  static Result<MemoryFile> open(const std::string& path);
  // The same, and it must be what the state file was saved with, complete.
  // Errors: also kCorrupt "PATH belongs to another snapshot", "PATH is truncated: …",
  // kInvalidArgument for a diff that has not been merged into its base.
  static Result<MemoryFile> open_for(const SnapshotInfo& state, const std::string& path);

  // Of an open file whose lock is the caller's business. Errors: as open().
  static Result<MemoryFile> from_fd(const std::string& path, sys::UniqueFd fd);

  // Guest memory lies at its start; may be mapped privately.
  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  const MemoryTrailer& trailer() const { return trailer_; }
  Bytes memory_size() const { return Bytes{trailer_.memory_size()}; }
  // Of a diff: one bit a page, set where the file has it. Errors: kCorrupt, read's.
  Result<std::vector<std::uint64_t>> bitmap() const;

  // True when the descriptor is of the same file.
  bool is_file_of(int other) const;

 private:
  MemoryFile(std::string path, sys::UniqueFd fd, MemoryTrailer trailer)
      : path_(std::move(path)), fd_(std::move(fd)), trailer_(std::move(trailer)) {}
  static Result<sys::UniqueFd> open_locked(const std::string& path);

  std::string path_;
  sys::UniqueFd fd_;
  MemoryTrailer trailer_;
};

// Length of a regular file. Errors: kCorrupt "PATH is not …" for anything else.
Result<std::uint64_t> regular_file_size(int fd, const std::string& path);

}  // namespace mvm::vmm
