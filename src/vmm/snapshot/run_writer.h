// SPDX-License-Identifier: Apache-2.0
// Writes page runs to a file as fast as the disk takes them: long runs past the page cache
// (O_DIRECT), short ones through it, so that scattered pages are not one disk access each. Where
// the file system has no O_DIRECT, or the pages shall stay in memory, writing to the disk is
// started early, so that the sync at the end finds little to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/result.h"

namespace mvm::vmm {

class RunWriter {
 public:
  // `direct`: long runs go past the page cache. The descriptor is the caller's.
  RunWriter(int fd, std::string path, bool direct)
      : fd_(fd), path_(std::move(path)), direct_allowed_(direct) {}
  // Leaves the descriptor without O_DIRECT.
  ~RunWriter() { set_direct(false); }
  RunWriter(const RunWriter&) = delete;
  RunWriter& operator=(const RunWriter&) = delete;

  // Memory, length and offset are page-aligned. Errors: kNoSpace, those of pwrite.
  Result<> write(std::span<const std::byte> pages, std::uint64_t offset);
  // Makes a range read as zero: a long one as a hole, where the file system can.
  Result<> clear(std::uint64_t offset, std::uint64_t length);

  std::uint64_t written() const { return written_; }

 private:
  bool set_direct(bool on);
  Result<> write_zeros(std::uint64_t offset, std::uint64_t length);
  void start_writeback(std::uint64_t end);

  int fd_;
  std::string path_;
  bool direct_allowed_;
  bool direct_ = false;
  std::uint64_t started_ = 0;  // up to here writeback has been started
  std::uint64_t written_ = 0;
};

}  // namespace mvm::vmm
