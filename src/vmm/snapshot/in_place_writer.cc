// SPDX-License-Identifier: Apache-2.0
#include "vmm/snapshot/in_place_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <utility>

#include "sys/io.h"

namespace mvm::vmm {
namespace {

Result<> sync_file(int fd, const std::string& path) {
  if (::fsync(fd) != 0) return Error::from_errno("fsync " + path);
  return {};
}

Result<> write_trailer(int fd, const MemoryTrailer& trailer, const std::string& path) {
  const std::uint64_t at = trailer.file_size() - kSnapshotPage;
  MVM_TRY_CTX(sys::write_at(fd, trailer.encode(), at), "writing " + path);
  return sync_file(fd, path);
}

// Asked first because it costs nothing, while allocating is a transaction of the file system.
bool has_hole(int fd, std::uint64_t from, std::uint64_t to) {
  const off_t hole = ::lseek(fd, static_cast<off_t>(from), SEEK_HOLE);
  return hole < 0 || static_cast<std::uint64_t>(hole) < to;
}

bool bit(std::span<const std::uint64_t> bitmap, std::uint64_t page) {
  return (bitmap[page / 64] >> page % 64 & 1) != 0;
}

}  // namespace

std::vector<std::byte> encode_bitmap(std::span<const std::uint64_t> bitmap, std::uint64_t size) {
  std::vector<std::byte> out(size);
  for (std::size_t i = 0; i < bitmap.size(); ++i) store(std::span(out), i * 8, bitmap[i]);
  return out;
}

Result<InPlaceWriter> InPlaceWriter::open(const std::string& path, const MemoryFile* own) {
  sys::UniqueFd fd = MVM_TRY(sys::open_file(path, O_RDWR | O_NONBLOCK));
  const int own_lock = own != nullptr && own->is_file_of(fd.get()) ? own->fd() : -1;
  if (::flock(own_lock >= 0 ? own_lock : fd.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    return Error(Errc::kBusy, path + " is in use by another vm");
  // A second descriptor of the same open file: the lock is one for both.
  auto file = MemoryFile::from_fd(path, MVM_TRY(sys::duplicate(fd.get())));
  if (!file) {
    if (own_lock >= 0) ::flock(own_lock, LOCK_SH);
    return file.error();
  }
  return InPlaceWriter(std::move(*file), std::move(fd), own_lock);
}

InPlaceWriter::InPlaceWriter(InPlaceWriter&& other) noexcept
    : file_(std::move(other.file_)),
      fd_(std::move(other.fd_)),
      own_lock_(std::exchange(other.own_lock_, -1)),
      bitmap_(std::move(other.bitmap_)),
      bitmap_digest_(other.bitmap_digest_),
      written_(other.written_) {}

InPlaceWriter::~InPlaceWriter() {
  if (own_lock_ >= 0) ::flock(own_lock_, LOCK_SH);
}

Result<> InPlaceWriter::allocate(std::span<const std::uint64_t> dirty) const {
  const std::uint64_t pages = trailer().memory_size() / kSnapshotPage;
  for (std::uint64_t page = 0; page < pages;) {
    if (!bit(dirty, page)) {
      page += page % 64 == 0 && dirty[page / 64] == 0 ? 64U : 1U;
      continue;
    }
    const std::uint64_t first = page;
    while (page < pages && bit(dirty, page)) ++page;
    if (!has_hole(fd_.get(), first * kSnapshotPage, page * kSnapshotPage)) continue;
    if (::fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(first * kSnapshotPage),
                    static_cast<off_t>((page - first) * kSnapshotPage)) == 0)
      continue;
    if (errno == EOPNOTSUPP || errno == ENOSYS) return {};
    return Error::from_errno("allocate blocks of " + path());
  }
  return {};
}

Result<> InPlaceWriter::begin(std::span<const std::uint64_t> dirty) {
  if (trailer().kind == MemoryKind::kDiff) {
    bitmap_ = MVM_TRY(file_.bitmap());
    for (std::size_t i = 0; i < bitmap_.size(); ++i) bitmap_[i] |= dirty[i];
  }
  MVM_TRY(allocate(dirty));
  // The place of the trailer is that of the old kind; parse() refuses it before it asks for more.
  const std::uint64_t at = trailer().file_size() - kSnapshotPage;
  MemoryTrailer unfinished = trailer();
  unfinished.kind = MemoryKind::kUnfinished;
  MVM_TRY_CTX(sys::write_at(fd_.get(), unfinished.encode(), at), "writing " + path());
  return sync_file(fd_.get(), path());
}

Result<> InPlaceWriter::write(const MemorySource& source, std::span<const std::uint64_t> dirty,
                              int pagemap_fd) {
  // Through the page cache: this file may be mapped by the VM itself, and writing past the cache
  // would have to throw the mapped pages out.
  RunWriter writer(fd_.get(), path(), false);
  PageRuns runs(source, dirty, pagemap_fd);
  while (const auto run = runs.next()) {
    if (run->zero)
      MVM_TRY(writer.clear(run->file_offset, run->length));
    else
      MVM_TRY(writer.write(std::span(run->host, run->length), run->file_offset));
  }
  written_ += writer.written();
  return {};
}

Result<> InPlaceWriter::write_bitmap() {
  if (trailer().kind != MemoryKind::kDiff) return {};
  const auto raw = encode_bitmap(bitmap_, trailer().bitmap_size());
  bitmap_digest_ = digest_of({raw});
  MVM_TRY_CTX(sys::write_at(fd_.get(), raw, trailer().memory_size()), "writing " + path());
  return {};
}

Result<PendingMemory> InPlaceWriter::finish(SnapshotId id) && {
  MVM_TRY(write_bitmap());
  MVM_TRY(sync_file(fd_.get(), path()));
  PendingMemory out;
  out.trailer_ = trailer();
  out.trailer_.id = id;
  out.trailer_.bitmap = bitmap_digest_;
  out.path_ = path();
  out.fd_ = std::move(fd_);
  out.own_lock_ = std::exchange(own_lock_, -1);
  out.data_ = Bytes{written_};
  return out;
}

PendingMemory::PendingMemory(PendingMemory&& other) noexcept
    : file_(std::move(other.file_)),
      fd_(std::move(other.fd_)),
      path_(std::move(other.path_)),
      trailer_(std::move(other.trailer_)),
      own_lock_(std::exchange(other.own_lock_, -1)),
      data_(other.data_) {}

PendingMemory::~PendingMemory() { release_lock(); }

void PendingMemory::release_lock() {
  if (own_lock_ >= 0) ::flock(std::exchange(own_lock_, -1), LOCK_SH);
}

Result<> PendingMemory::commit() {
  if (file_) return file_->commit();
  MVM_TRY(write_trailer(fd_.get(), trailer_, path_));
  release_lock();
  fd_.reset();
  return {};
}

}  // namespace mvm::vmm
