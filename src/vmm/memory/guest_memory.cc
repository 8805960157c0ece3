// SPDX-License-Identifier: Apache-2.0
#include "vmm/memory/guest_memory.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>

#include "core/checked.h"

namespace mvm::vmm {

// One bit a page, set by whichever thread writes.
struct GuestMemory::DirtyMap {
  explicit DirtyMap(std::size_t pages) : words((pages + 63) / 64) {}
  std::vector<std::atomic<std::uint64_t>> words;
  std::atomic<bool> tracking{false};
};

namespace {

Result<> check_size(Bytes size) {
  if (size.count == 0 || size.count % GuestMemory::kPageSize != 0)
    return Error(Errc::kInvalidArgument,
                 "guest memory of " + std::to_string(size.count) + " bytes is no number of pages");
  return {};
}

std::vector<MemoryRegion> layout(Bytes size) {
  const std::uint64_t low = std::min(size.count, kMmioGapStart);
  std::vector<MemoryRegion> regions = {{0, low, nullptr, 0}};
  if (low < size.count) regions.push_back({kMmioGapEnd, size.count - low, nullptr, low});
  return regions;
}

constexpr std::uint64_t kHugePage = 2 << 20;

// At a multiple of the huge page: KVM maps 2 MiB at once only where guest and host addresses are
// equal up to that size. Regions begin at such multiples of guest addresses.
Result<std::byte*> map(std::uint64_t size, int fd, std::uint64_t offset) {
  const auto failed = [&] {
    return Error::from_errno("mapping " + format_size(Bytes{size}) + " of guest memory");
  };
  const std::uint64_t room = size + kHugePage;
  constexpr int kAnonymous = MAP_PRIVATE | MAP_NORESERVE | MAP_ANONYMOUS;
  void* reserved = ::mmap(nullptr, room, PROT_NONE, kAnonymous, -1, 0);
  if (reserved == MAP_FAILED) return failed();
  auto* const begin = static_cast<std::byte*>(reserved);
  const std::uint64_t beyond = reinterpret_cast<std::uintptr_t>(begin) % kHugePage;
  const std::uint64_t before = beyond == 0 ? 0 : kHugePage - beyond;
  void* host = ::mmap(begin + before, size, PROT_READ | PROT_WRITE,
                      MAP_FIXED | MAP_PRIVATE | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0), fd,
                      static_cast<off_t>(offset));
  if (host == MAP_FAILED) {
    const Error error = failed();
    ::munmap(reserved, room);
    return error;
  }
  const std::uint64_t used = before + (size + 4095) / 4096 * 4096;
  if (before > 0) ::munmap(begin, before);
  if (used < room) ::munmap(begin + used, room - used);
  // A core dump with the guest's memory helps nobody and holds its secrets.
  ::madvise(host, size, MADV_DONTDUMP);
  return static_cast<std::byte*>(host);
}

}  // namespace

Result<GuestMemory> GuestMemory::create(Bytes size) {
  MVM_TRY(check_size(size));
  GuestMemory out;
  out.size_ = size;
  out.dirty_ = std::make_unique<DirtyMap>(size.count / kPageSize);
  for (MemoryRegion region : layout(size)) {
    region.host = MVM_TRY(map(region.size, -1, 0));
    // Huge pages, where the system has them: a page fault of a guest costs thousands of cycles.
    ::madvise(region.host, region.size, MADV_HUGEPAGE);
    out.regions_.push_back(region);
  }
  return out;
}

Result<GuestMemory> GuestMemory::map_file(int fd, Bytes size) {
  MVM_TRY(check_size(size));
  struct stat st{};
  if (::fstat(fd, &st) != 0) return Error::from_errno("stat of the memory file");
  if (static_cast<std::uint64_t>(st.st_size) < size.count)
    return Error(Errc::kCorrupt, "the memory file has " + std::to_string(st.st_size) +
                                     " bytes, the machine " + std::to_string(size.count));
  GuestMemory out;
  out.size_ = size;
  out.dirty_ = std::make_unique<DirtyMap>(size.count / kPageSize);
  for (MemoryRegion region : layout(size)) {
    region.host = MVM_TRY(map(region.size, fd, region.file_offset));
    out.regions_.push_back(region);
  }
  return out;
}

GuestMemory::GuestMemory(GuestMemory&& other) noexcept
    : size_(other.size_),
      regions_(std::exchange(other.regions_, {})),
      dirty_(std::move(other.dirty_)) {}

GuestMemory::~GuestMemory() {
  for (const MemoryRegion& region : regions_) ::munmap(region.host, region.size);
}

std::optional<std::span<std::byte>> GuestMemory::slice(Gpa gpa, std::uint64_t length) const {
  for (const MemoryRegion& region : regions_) {
    if (gpa < region.start || gpa - region.start >= region.size) continue;
    const std::uint64_t offset = gpa - region.start;
    if (length > region.size - offset) return std::nullopt;
    return std::span(region.host + offset, length);
  }
  return std::nullopt;
}

bool GuestMemory::read(Gpa gpa, std::span<std::byte> into) const {
  const auto from = slice(gpa, into.size());
  if (!from) return false;
  std::memcpy(into.data(), from->data(), into.size());
  return true;
}

bool GuestMemory::write(Gpa gpa, std::span<const std::byte> from) const {
  const auto into = slice(gpa, from.size());
  if (!into) return false;
  std::memcpy(into->data(), from.data(), from.size());
  mark_dirty(gpa, from.size());
  return true;
}

void GuestMemory::mark_dirty(Gpa gpa, std::uint64_t length) const {
  if (length == 0 || !dirty_->tracking.load(std::memory_order_relaxed)) return;
  for (const MemoryRegion& region : regions_) {
    if (gpa < region.start || gpa - region.start >= region.size) continue;
    const std::uint64_t first = region.file_offset + (gpa - region.start);
    const std::uint64_t last = std::min(first + length, region.file_offset + region.size) - 1;
    for (std::uint64_t page = first / kPageSize; page <= last / kPageSize; ++page)
      dirty_->words[page / 64].fetch_or(1ULL << (page % 64), std::memory_order_relaxed);
  }
}

void GuestMemory::track_dirty(bool on) {
  for (auto& word : dirty_->words) word.store(0, std::memory_order_relaxed);
  dirty_->tracking.store(on, std::memory_order_relaxed);
}

std::vector<std::uint64_t> GuestMemory::take_dirty() const {
  std::vector<std::uint64_t> out;
  out.reserve(dirty_->words.size());
  for (auto& word : dirty_->words) out.push_back(word.exchange(0, std::memory_order_relaxed));
  return out;
}

}  // namespace mvm::vmm
