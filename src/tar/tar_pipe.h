// SPDX-License-Identifier: Apache-2.0
// The two ends of a tar stream in a pipe, as libarchive's reader and writer see them, and a way
// past libarchive for the content of large files: the kernel moves it between file and pipe.
//
// libarchive takes no notice: reading, it is told that the bytes were skipped; writing, it hands on
// as many zeros as the file has bytes, and the file's bytes are sent in their place.
//
// `archive` is libarchive's `struct archive*`, whose type does not cross headers.
//
// Threads: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/result.h"

namespace mvm::tar {

// Content of less than this goes through libarchive.
constexpr std::int64_t kLargeFile = 1024 * 1024;

// Whether an entry's content may go past libarchive: that of a regular file, large, without holes.
bool is_large(void* entry);
// What the stream has of an entry's content: of a sparse file, less than its size. `entry` is
// libarchive's `struct archive_entry*`.
std::int64_t stored_size(void* entry);

class TarPipeReader {
 public:
  explicit TarPipeReader(int pipe) : pipe_(pipe) {}
  // The archive reads from here and must go first. Errors: libarchive's.
  Result<> open(void* archive);
  // Before content is read through libarchive: so much is stored, see stored_size(), and its
  // padding.
  void expect(std::int64_t stored);
  // Whether the content of the present entry is the next in the pipe, none of it with libarchive.
  bool can_move() const;
  // Moves it into a file and has libarchive go on behind it; only when can_move(). Errors: kCorrupt
  // when the stream ends first or is not what its header says; those of writing.
  Result<> move_to(int file, std::int64_t size);

  // For libarchive.
  Result<std::size_t> next(const void** block);
  std::int64_t skip(std::int64_t request);

 private:
  int pipe_;
  void* archive_ = nullptr;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::uint64_t position_ = 0;  // in the stream, of what comes next
  std::int64_t expected_ = 0;
  std::int64_t moved_ = 0;  // by us, libarchive does not know it yet
};

class TarPipeWriter {
 public:
  explicit TarPipeWriter(int pipe) : pipe_(pipe) {}
  // The archive writes to here, unblocked, and must go first; closing it sends what is left.
  // Errors: libarchive's.
  Result<> open(void* archive);
  // Sends `size` bytes of a file as the content of the present entry; what it has lost since its
  // size was taken is zeros. Errors: those of reading and writing.
  Result<> move_from(void* archive, int file, std::int64_t size);

  // For libarchive.
  Result<> write(const std::byte* bytes, std::size_t size);
  Result<> flush();

 private:
  Result<> move(std::size_t size);

  int pipe_;
  int file_ = -1;  // stands behind the zeros that libarchive hands on
  std::vector<std::byte> zeros_;
  std::vector<std::byte> pending_;  // small writes: headers, small files, padding
};

}  // namespace mvm::tar
