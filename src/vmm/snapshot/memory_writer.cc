// SPDX-License-Identifier: Apache-2.0
#include "vmm/snapshot/memory_writer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "sys/io.h"
#include "vmm/snapshot/in_place_writer.h"
#include "vmm/snapshot/run_writer.h"

namespace mvm::vmm {

PendingMemory pending_new_file(PendingFile file, Bytes data) {
  PendingMemory out;
  out.path_ = file.path();
  out.file_.emplace(std::move(file));
  out.data_ = data;
  return out;
}

namespace {

constexpr std::uint64_t kMergeStep = 4 << 20;

Result<> check_source(const MemorySource& source) {
  MVM_TRY(check_regions(source.regions()));
  for (const MemoryPart& part : source.parts) {
    if (part.host == nullptr || reinterpret_cast<std::uintptr_t>(part.host) % kSnapshotPage != 0)
      return Error(Errc::kInvalidArgument, "guest memory is not mapped at whole pages");
  }
  return {};
}

// A file of its final length, all hole.
Result<PendingFile> new_file(const std::string& path, const MemoryTrailer& trailer) {
  PendingFile file = MVM_TRY(PendingFile::create(path));
  if (::ftruncate(file.fd(), static_cast<off_t>(trailer.file_size())) != 0)
    return Error::from_errno("set the length of " + path);
  return file;
}

Result<PendingMemory> write_new(const std::string& path, const MemorySource& source,
                                MemoryTrailer trailer,
                                std::optional<std::span<const std::uint64_t>> only,
                                const MemoryWriteOptions& options) {
  PendingFile file = MVM_TRY(new_file(path, trailer));
  std::uint64_t written = 0;
  {
    RunWriter writer(file.fd(), path, options.caching == MemoryCaching::kBypass);
    PageRuns runs(source, only, options.pagemap_fd);
    while (const auto run = runs.next()) {
      if (!run->zero) MVM_TRY(writer.write(std::span(run->host, run->length), run->file_offset));
    }
    written = writer.written();
  }
  if (trailer.kind == MemoryKind::kDiff) {
    const auto bitmap = encode_bitmap(*only, trailer.bitmap_size());
    trailer.bitmap = digest_of({bitmap});
    MVM_TRY_CTX(sys::write_at(file.fd(), bitmap, trailer.memory_size()), "writing " + path);
  }
  MVM_TRY_CTX(sys::write_at(file.fd(), trailer.encode(), trailer.file_size() - kSnapshotPage),
              "writing " + path);
  MVM_TRY(file.sync());
  return pending_new_file(std::move(file), Bytes{written});
}

Result<PendingMemory> update(const std::string& path, const MemorySource& source,
                             const MemoryChanges& changes, SnapshotId id, int pagemap_fd) {
  const auto foreign = [&] {
    return Error(Errc::kInvalidArgument, path + " is not the snapshot that this one continues")
        .with_hint("name a file that does not exist, or make a full snapshot");
  };
  auto writer = InPlaceWriter::open(path, changes.own);
  if (!writer &&
      (writer.error().code() == Errc::kCorrupt || writer.error().code() == Errc::kUnsupported))
    return foreign();
  if (!writer) return writer.error();
  if (writer->trailer().id != changes.parent || writer->trailer().regions != source.regions())
    return foreign();
  MVM_TRY(writer->begin(changes.dirty));
  MVM_TRY(writer->write(source, changes.dirty, pagemap_fd));
  return std::move(*writer).finish(id);
}

// Memory for a piece of a file, page-aligned.
class Buffer {
 public:
  Buffer()
      : address_(::mmap(nullptr, kMergeStep, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1, 0)) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (ok()) ::munmap(address_, kMergeStep);
  }
  bool ok() const { return address_ != MAP_FAILED; }
  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(address_), kMergeStep}; }

 private:
  void* address_;
};

bool any_set(std::span<const std::uint64_t> bitmap, std::uint64_t page, std::uint64_t count) {
  for (std::uint64_t i = page; i < page + count; ++i) {
    if ((bitmap[i / 64] >> i % 64 & 1) != 0) return true;
  }
  return false;
}

Result<> copy_pages(InPlaceWriter& writer, const MemoryFile& diff,
                    std::span<const std::uint64_t> bitmap) {
  const Buffer buffer;
  if (!buffer.ok()) return Error::from_errno("mmap");
  const std::uint64_t size = diff.memory_size().count;
  for (std::uint64_t at = 0; at < size; at += kMergeStep) {
    const std::uint64_t step = std::min(kMergeStep, size - at);
    if (!any_set(bitmap, at / kSnapshotPage, step / kSnapshotPage)) continue;
    const auto piece = buffer.bytes().first(step);
    if (::lseek(diff.fd(), static_cast<off_t>(at), SEEK_SET) < 0)
      return Error::from_errno("seek " + diff.path());
    if (MVM_TRY_CTX(sys::read_full(diff.fd(), piece), "reading " + diff.path()) != step)
      return Error(Errc::kCorrupt, diff.path() + " is truncated");
    const MemorySource source{{{{0, step, at}, piece.data()}}, false};
    MVM_TRY(writer.write(source, bitmap, -1));
  }
  return {};
}

}  // namespace

Result<PendingMemory> write_memory(const std::string& path, const MemorySource& source,
                                   SnapshotId id, const MemoryWriteOptions& options) {
  MVM_TRY(check_source(source));
  MemoryTrailer trailer;
  trailer.id = id;
  trailer.regions = source.regions();
  return write_new(path, source, std::move(trailer), std::nullopt, options);
}

Result<PendingMemory> write_memory_changes(const std::string& path, const MemorySource& source,
                                           const MemoryChanges& changes, SnapshotId id,
                                           const MemoryWriteOptions& options) {
  MVM_TRY(check_source(source));
  if (changes.dirty.size() != (source.size() / kSnapshotPage + 63) / 64)
    return Error(Errc::kInvalidArgument, "the list of changed pages does not fit to the memory");
  if (changes.parent.empty())
    return Error(Errc::kInvalidArgument,
                 "there is no earlier snapshot that this one could continue");
  if (sys::path_exists(path)) return update(path, source, changes, id, options.pagemap_fd);
  MemoryTrailer trailer;
  trailer.kind = MemoryKind::kDiff;
  trailer.id = id;
  trailer.base = changes.parent;
  trailer.regions = source.regions();
  return write_new(path, source, std::move(trailer), changes.dirty, options);
}

Result<> merge_diff(const std::string& base_path, const std::string& diff_path) {
  const MemoryFile diff = MVM_TRY(MemoryFile::open(diff_path));
  if (diff.trailer().kind != MemoryKind::kDiff)
    return Error(Errc::kInvalidArgument, diff_path + " is no diff");
  const auto bitmap = MVM_TRY(diff.bitmap());
  InPlaceWriter writer = MVM_TRY(InPlaceWriter::open(base_path, nullptr));
  if (writer.trailer().id != diff.trailer().base ||
      writer.trailer().regions != diff.trailer().regions)
    return Error(Errc::kInvalidArgument, diff_path + " is not a diff of " + base_path);
  MVM_TRY(writer.begin(bitmap));
  MVM_TRY(copy_pages(writer, diff, bitmap));
  PendingMemory merged = MVM_TRY(std::move(writer).finish(diff.trailer().id));
  return merged.commit();
}

}  // namespace mvm::vmm
