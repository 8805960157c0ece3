// SPDX-License-Identifier: Apache-2.0
// Whole reads and writes on descriptors and small files, with EINTR handled.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/units.h"
#include "sys/unique_fd.h"

namespace mvm::sys {

// open(2) with O_CLOEXEC added. Errors: "open PATH: …".
Result<UniqueFd> open_file(const std::string& path, int flags, unsigned mode = 0);
Result<UniqueFd> open_file_at(int dir, const std::string& path, int flags, unsigned mode = 0);

// Reads until the span is full or the end of file; returns the bytes read.
Result<std::size_t> read_full(int fd, std::span<std::byte> into);
// One read(2). 0 at end of file. Errors: errno EAGAIN is kept in Error::errnum().
Result<std::size_t> read_some(int fd, std::span<std::byte> into);
// One write(2) of what fits.
Result<std::size_t> write_some(int fd, std::span<const std::byte> from);
Result<> write_full(int fd, std::span<const std::byte> from);
Result<> write_full(int fd, std::string_view text);

// A whole small file. Errors: kLimit when larger than `limit`.
Result<std::string> read_file(const std::string& path, Bytes limit = mebibytes(16));
Result<std::string> read_fd(int fd, Bytes limit = mebibytes(16));
// Replaces a small file in place; for files whose half-written state matters use AtomicFile.
Result<> write_file(const std::string& path, std::string_view text, unsigned mode = 0600);

// The same, with holes where `text` has whole blocks of zeros.
Result<> write_sparse_file(const std::string& path, std::string_view text, unsigned mode = 0600);

// Copies up to the end of `from` into an empty file, keeping holes where the file system tells them
// (SEEK_DATA); one that can share the blocks of two files does.
Result<> copy_sparse(int from, int to, Bytes size);
// The whole of a file in the same way, as a new one. Errors: EEXIST.
Result<> copy_file(int from, const std::string& to, unsigned mode = 0600);

// Returns when there is something to read, an end or an error among it. Errors: the deadline's.
Result<> wait_readable(int fd, const Deadline& deadline);
Result<> set_nonblocking(int fd, bool on);
Result<UniqueFd> duplicate(int fd);

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};
// With room for `capacity` bytes, where it is given and this user's pages allow it.
Result<Pipe> make_pipe(std::size_t capacity = 0);
// Bytes that a pipe or terminal holds for its reader; 0 when it cannot tell.
std::size_t unread_bytes(int fd);
// pwrite(2) of everything. Errors: pwrite's.
Result<> write_at(int fd, std::span<const std::byte> bytes, std::size_t offset);

// An anonymous file in memory holding `text`, positioned at its start.
Result<UniqueFd> memory_file(const char* name, std::string_view text);

bool path_exists(const std::string& path);
// mkdir -p; new directories get `mode`.
Result<> make_dirs(const std::string& path, unsigned mode = 0700);
// The paths directly below a directory; one that is missing or cannot be read is empty.
std::vector<std::string> children(const std::string& directory);
// rm -r that never follows a symbolic link; a path that is not there is fine.
Result<> remove_tree(const std::string& path);
// Bytes allocated on disk below `path`.
Result<Bytes> disk_usage(const std::string& path);

}  // namespace mvm::sys
