// SPDX-License-Identifier: Apache-2.0
#include "tar/tar_pipe.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "sys/io.h"

namespace mvm::tar {
namespace {

constexpr std::size_t kBuffer = 64 * 1024;
constexpr std::size_t kTarBlock = 512;
// The largest pipe; a request for more takes what there is.
constexpr std::size_t kMost = 1024 * 1024;

Error failure(archive* a, const char* what) {
  const char* text = ::archive_error_string(a);
  return Error(Errc::kIo,
               std::string(what) + ": " + (text != nullptr ? text : "libarchive failed"));
}

// splice(2), by reading and writing where a file system does not offer it.
Result<std::size_t> move_some(int from, int to, std::size_t size, std::vector<std::byte>& buffer) {
  ssize_t n = 0;
  do n = ::splice(from, nullptr, to, nullptr, std::min(size, kMost), SPLICE_F_MOVE);
  while (n < 0 && errno == EINTR);
  if (n >= 0) return static_cast<std::size_t>(n);
  if (errno != EINVAL) return Error::from_errno("move content");
  buffer.resize(kBuffer);
  const std::size_t got =
      MVM_TRY(sys::read_some(from, std::span(buffer).first(std::min(size, kBuffer))));
  MVM_TRY(sys::write_full(to, std::span(buffer).first(got)));
  return got;
}

}  // namespace

bool is_large(void* entry) {
  auto* of = static_cast<archive_entry*>(entry);
  return ::archive_entry_filetype(of) == AE_IFREG && ::archive_entry_hardlink(of) == nullptr &&
         ::archive_entry_size(of) >= kLargeFile && ::archive_entry_sparse_count(of) == 0;
}

std::int64_t stored_size(void* entry) {
  auto* of = static_cast<archive_entry*>(entry);
  if (::archive_entry_sparse_reset(of) == 0) return ::archive_entry_size(of);
  std::int64_t sum = 0;
  la_int64_t offset = 0;
  la_int64_t length = 0;
  while (::archive_entry_sparse_next(of, &offset, &length) == ARCHIVE_OK) {
    if (length < 0 || __builtin_add_overflow(sum, length, &sum)) return 0;
  }
  return sum;
}

// More than any stream has; the sizes are the sender's word.
void TarPipeReader::expect(std::int64_t stored) {
  constexpr std::int64_t kMostStored = std::int64_t{1} << 60;
  constexpr std::int64_t kBlock = kTarBlock;
  expected_ = (std::clamp(stored, std::int64_t{0}, kMostStored) + kBlock - 1) / kBlock * kBlock;
}

bool TarPipeReader::can_move() const {
  const la_int64_t consumed = ::archive_filter_bytes(static_cast<struct archive*>(archive_), 0);
  return consumed >= 0 && static_cast<std::uint64_t>(consumed) == position_;
}

Result<> TarPipeReader::open(void* archive) {
  archive_ = archive;
  auto* in = static_cast<struct archive*>(archive);
  ::archive_read_set_callback_data(in, this);
  ::archive_read_set_read_callback(in, [](struct archive* a, void* self, const void** block) {
    auto got = static_cast<TarPipeReader*>(self)->next(block);
    if (got) return static_cast<la_ssize_t>(*got);
    ::archive_set_error(a, got.error().errnum(), "%s", got.error().message().c_str());
    return la_ssize_t{-1};
  });
  ::archive_read_set_skip_callback(in, [](struct archive*, void* self, la_int64_t request) {
    return la_int64_t{static_cast<TarPipeReader*>(self)->skip(request)};
  });
  if (::archive_read_open1(in) != ARCHIVE_OK) return failure(in, "reading the tar stream");
  return {};
}

// Headers a block at a time, and what is left of a block behind content that was moved, so that
// libarchive never holds content that is to be moved past it.
Result<std::size_t> TarPipeReader::next(const void** block) {
  buffer_.resize(kBuffer);
  if (begin_ == end_) {
    begin_ = 0;
    end_ = MVM_TRY(sys::read_some(pipe_, buffer_));
  }
  const std::size_t most =
      expected_ > 0 ? static_cast<std::size_t>(expected_) : kTarBlock - position_ % kTarBlock;
  const std::size_t size = std::min(end_ - begin_, most);
  *block = buffer_.data() + begin_;
  begin_ += size;
  position_ += size;
  expected_ -= std::min<std::int64_t>(expected_, static_cast<std::int64_t>(size));
  return size;
}

std::int64_t TarPipeReader::skip(std::int64_t request) {
  const std::int64_t skipped = std::min(request, moved_);
  moved_ -= skipped;
  return skipped;
}

Result<> TarPipeReader::move_to(int file, std::int64_t size) {
  auto left = static_cast<std::size_t>(size);
  const std::size_t buffered = std::min(left, end_ - begin_);
  MVM_TRY(sys::write_full(file, std::span(buffer_).subspan(begin_, buffered)));
  begin_ += buffered;
  left -= buffered;
  std::vector<std::byte> spare;
  while (left > 0) {
    const std::size_t n = MVM_TRY(move_some(pipe_, file, left, spare));
    if (n == 0) return Error(Errc::kCorrupt, "the tar stream ends inside a file");
    left -= n;
  }
  moved_ = size;
  position_ += static_cast<std::uint64_t>(size);
  auto* in = static_cast<struct archive*>(archive_);
  if (::archive_read_data_skip(in) < ARCHIVE_WARN) return failure(in, "reading the tar stream");
  if (moved_ != 0) return Error(Errc::kCorrupt, "the tar stream is not what its header says");
  return {};
}

Result<> TarPipeWriter::open(void* archive) {
  auto* out = static_cast<struct archive*>(archive);
  ::archive_write_set_bytes_per_block(out, 0);
  ::archive_write_set_bytes_in_last_block(out, static_cast<int>(kTarBlock));
  const int opened = ::archive_write_open(
      out, this, nullptr,
      [](struct archive* a, void* self, const void* bytes, std::size_t size) {
        const auto done =
            static_cast<TarPipeWriter*>(self)->write(static_cast<const std::byte*>(bytes), size);
        if (done) return static_cast<la_ssize_t>(size);
        ::archive_set_error(a, done.error().errnum(), "%s", done.error().message().c_str());
        return la_ssize_t{-1};
      },
      [](struct archive* a, void* self) {
        const auto done = static_cast<TarPipeWriter*>(self)->flush();
        if (done) return int{ARCHIVE_OK};
        ::archive_set_error(a, done.error().errnum(), "%s", done.error().message().c_str());
        return int{ARCHIVE_FATAL};
      });
  if (opened != ARCHIVE_OK) return failure(out, "writing the tar stream");
  return {};
}

Result<> TarPipeWriter::write(const std::byte* bytes, std::size_t size) {
  if (file_ >= 0 && bytes == zeros_.data()) {
    MVM_TRY(flush());
    return move(size);
  }
  if (pending_.size() + size > kBuffer) MVM_TRY(flush());
  if (size > kBuffer) return sys::write_full(pipe_, std::span(bytes, size));
  pending_.insert(pending_.end(), bytes, bytes + size);
  return {};
}

Result<> TarPipeWriter::flush() {
  MVM_TRY(sys::write_full(pipe_, pending_));
  pending_.clear();
  return {};
}

Result<> TarPipeWriter::move(std::size_t size) {
  std::vector<std::byte> spare;
  while (size > 0) {
    const std::size_t n = MVM_TRY(move_some(file_, pipe_, size, spare));
    if (n == 0) return sys::write_full(pipe_, std::span(zeros_).first(size));
    size -= n;
  }
  return {};
}

Result<> TarPipeWriter::move_from(void* archive, int file, std::int64_t size) {
  auto* out = static_cast<struct archive*>(archive);
  zeros_.resize(kMost);
  file_ = file;
  auto left = static_cast<std::size_t>(size);
  Result<> done;
  while (done && left > 0) {
    const la_ssize_t taken = ::archive_write_data(out, zeros_.data(), std::min(left, kMost));
    if (taken <= 0) {
      done = failure(out, "packing");
    } else {
      left -= static_cast<std::size_t>(taken);
    }
  }
  file_ = -1;
  return done;
}

}  // namespace mvm::tar
