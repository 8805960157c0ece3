// SPDX-License-Identifier: Apache-2.0
// Changes pages of an existing memory file so that a crash leaves the old content, the new one, or
// a file that says it is unfinished: see docs/formats/snapshot.md, "Order of writes".
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "vmm/snapshot/memory_writer.h"
#include "vmm/snapshot/run_writer.h"

namespace mvm::vmm {

class InPlaceWriter {
 public:
  // Locks the file against readers and other writers; `own` is a file of the caller's that may be
  // the same. Errors: kBusy, those of MemoryFile::open.
  static Result<InPlaceWriter> open(const std::string& path, const MemoryFile* own);

  const MemoryTrailer& trailer() const { return file_.trailer(); }
  const std::string& path() const { return file_.path(); }

  // Allocates blocks for these pages, then says in the file that it is unfinished.
  Result<> begin(std::span<const std::uint64_t> dirty);
  // Writes those of the source's pages. May be called several times.
  Result<> write(const MemorySource& source, std::span<const std::uint64_t> dirty, int pagemap_fd);
  // Syncs; what is left is the trailer with the new id.
  Result<PendingMemory> finish(SnapshotId id) &&;

  InPlaceWriter(InPlaceWriter&& other) noexcept;
  InPlaceWriter& operator=(InPlaceWriter&&) = delete;
  ~InPlaceWriter();

 private:
  InPlaceWriter(MemoryFile file, sys::UniqueFd fd, int own_lock)
      : file_(std::move(file)), fd_(std::move(fd)), own_lock_(own_lock) {}
  Result<> allocate(std::span<const std::uint64_t> dirty) const;
  Result<> write_bitmap();

  MemoryFile file_;
  sys::UniqueFd fd_;
  int own_lock_ = -1;
  std::vector<std::uint64_t> bitmap_;  // of a diff: what it will have
  Digest bitmap_digest_{};
  std::uint64_t written_ = 0;
};

// The bitmap as the file has it, padded to `size` bytes.
std::vector<std::byte> encode_bitmap(std::span<const std::uint64_t> bitmap, std::uint64_t size);

}  // namespace mvm::vmm
