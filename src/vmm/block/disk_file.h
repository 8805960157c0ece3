// SPDX-License-Identifier: Apache-2.0
// The file or block device of the host that backs a disk of the guest.
//
// Units: offsets and lengths are bytes; the caller has checked them against sectors().
// Threads: none; the owner serialises.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string>

#include "core/result.h"
#include "sys/unique_fd.h"

namespace mvm::vmm {

constexpr std::uint64_t kSectorSize = 512;

class DiskFile {
 public:
  // Errors: those of open; kInvalidArgument when it is no regular file or block device.
  static Result<DiskFile> open(const std::string& path, bool read_only);
  // A descriptor that somebody else has opened; `path` only names it. Errors: as above, and
  // kInvalidArgument when it cannot be written although it should be.
  static Result<DiskFile> adopt(sys::UniqueFd fd, std::string path, bool read_only);

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  bool read_only() const { return read_only_; }
  // Whole sectors: what is left of a file after the last one is not part of the disk.
  std::uint64_t sectors() const { return sectors_; }
  // Device and inode, in decimal.
  const std::string& host_id() const { return host_id_; }

  // Writes everything; `ranges` is used up. `durable`: it is on the medium when this returns.
  // Errors: kNoSpace, kIo and others of pwritev2.
  Result<> write(std::uint64_t offset, std::span<iovec> ranges, bool durable) const;
  // Frees the space, where the file system can; the content is then undefined (zeros, in fact).
  Result<> discard(std::uint64_t offset, std::uint64_t length) const;
  // Reads as zeros afterwards. `may_unmap`: the space may be freed.
  Result<> write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) const;

 private:
  DiskFile() = default;

  sys::UniqueFd fd_;
  std::string path_;
  std::string host_id_;
  std::uint64_t sectors_ = 0;
  bool read_only_ = true;
};

}  // namespace mvm::vmm
