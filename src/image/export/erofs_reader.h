// SPDX-License-Identifier: Apache-2.0
// Reads the EROFS files that mvm makes: uncompressed, one device. What other tools leave out when
// they extract an image (extended attributes, which names are one file) is told.
//
// An image may come from elsewhere: every offset and length in it is checked.
// Source: Linux 6.1, fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "sys/unique_fd.h"

namespace mvm::image {

struct ErofsInode {
  std::uint64_t nid = 0;  // names the file within the image
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t links = 0;
  std::uint64_t size = 0;
  std::int64_t mtime_s = 0;
  std::uint32_t mtime_ns = 0;
  std::uint32_t device = 0;  // of device files, as the kernel's new_encode_dev() writes it
  // Where the content and the attributes lie. Units: bytes from the start of the image.
  std::uint64_t data = 0;        // of all whole blocks
  std::uint64_t tail = 0;        // of the rest, when it lies elsewhere
  std::uint64_t tail_size = 0;   // 0: it does not
  std::uint64_t attributes = 0;  // behind the inode
  std::uint64_t attributes_size = 0;
};

struct ErofsEntry {
  std::string name;
  std::uint64_t nid = 0;
};

struct ExtendedAttribute {
  std::string name;  // "security.capability"
  std::string value;
};

class ErofsReader {
 public:
  // Errors: kCorrupt; kUnsupported for compression and further devices.
  static Result<ErofsReader> open(const std::string& path);

  std::uint64_t root() const { return root_; }
  Result<ErofsInode> inode(std::uint64_t nid) const;
  // Without "." and "..", sorted by name as they lie there.
  Result<std::vector<ErofsEntry>> directory(const ErofsInode& inode) const;
  // The content from `offset` on; fills `into`, which may not reach past the end.
  Result<> read(const ErofsInode& inode, std::uint64_t offset, std::span<std::byte> into) const;
  // At most PATH_MAX bytes.
  Result<std::string> link_target(const ErofsInode& inode) const;
  Result<std::vector<ExtendedAttribute>> attributes(const ErofsInode& inode) const;

 private:
  ErofsReader(sys::UniqueFd file, std::uint64_t size) : file_(std::move(file)), size_(size) {}
  Result<> read_at(std::uint64_t offset, std::span<std::byte> into) const;
  Result<ExtendedAttribute> attribute_at(std::uint64_t offset, std::uint64_t limit,
                                         std::uint64_t& end) const;

  sys::UniqueFd file_;
  std::uint64_t size_ = 0;
  std::uint64_t block_ = 4096;
  std::uint64_t root_ = 0;
  std::uint64_t inodes_at_ = 0;
  std::uint64_t shared_at_ = 0;
};

}  // namespace mvm::image
