// SPDX-License-Identifier: Apache-2.0
#include "vmm/snapshot/page_runs.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

namespace mvm::vmm {
namespace {

// Source: Linux, Documentation/admin-guide/mm/pagemap.rst.
constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62;
constexpr std::size_t kWindowEntries = 8192;

std::uint64_t page_number(const std::byte* page) {
  return reinterpret_cast<std::uintptr_t>(page) / kSnapshotPage;
}

}  // namespace

std::vector<SnapshotRegion> MemorySource::regions() const {
  std::vector<SnapshotRegion> out;
  for (const MemoryPart& part : parts) out.push_back(part.region);
  return out;
}

std::uint64_t MemorySource::size() const {
  std::uint64_t out = 0;
  for (const MemoryPart& part : parts) out += part.region.size;
  return out;
}

const std::byte* MemorySource::at(std::uint64_t file_offset) const {
  for (const MemoryPart& part : parts) {
    if (file_offset >= part.region.file_offset &&
        file_offset - part.region.file_offset < part.region.size)
      return part.host + (file_offset - part.region.file_offset);
  }
  return nullptr;
}

// Written so that compilers turn the inner loop into vector instructions; most pages with content
// end with the first word.
bool is_zero_page(const std::byte* page) {
  std::uint64_t first = 0;
  std::memcpy(&first, page, sizeof first);
  if (first != 0) return false;
  constexpr std::size_t kBlock = 256;
  for (std::size_t at = 0; at < kSnapshotPage; at += kBlock) {
    std::uint64_t words[kBlock / 8];
    std::memcpy(words, page + at, kBlock);
    std::uint64_t any = 0;
    for (const std::uint64_t word : words) any |= word;
    if (any != 0) return false;
  }
  return true;
}

PageRuns::PageRuns(const MemorySource& source, std::optional<std::span<const std::uint64_t>> only,
                   int pagemap_fd)
    : source_(source), only_(only), pagemap_(pagemap_fd) {
  if (!source.untouched_is_zero) {
    pagemap_ = -1;
  } else if (pagemap_ < 0) {
    opened_.reset(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    pagemap_ = opened_.get();
  }
}

bool PageRuns::wanted(std::uint64_t file_offset) const {
  if (!only_) return true;
  const std::uint64_t page = file_offset / kSnapshotPage;
  return page / 64 < only_->size() && ((*only_)[page / 64] >> page % 64 & 1) != 0;
}

bool PageRuns::fill_pagemap(std::uint64_t first) {
  window_.resize(kWindowEntries);
  window_first_ = first;
  const ssize_t n =
      ::pread(pagemap_, window_.data(), kWindowEntries * 8, static_cast<off_t>(first * 8));
  window_.resize(n > 0 ? static_cast<std::size_t>(n) / 8 : 0);
  if (window_.empty()) pagemap_ = -1;  // it cannot be read here: look at the pages
  return pagemap_ >= 0;
}

bool PageRuns::untouched(const std::byte* page) {
  if (pagemap_ < 0) return false;
  const std::uint64_t number = page_number(page);
  if (number < window_first_ || number - window_first_ >= window_.size()) {
    if (!fill_pagemap(number)) return false;
  }
  return (window_[number - window_first_] & (kPresent | kSwapped)) == 0;
}

PageRuns::Page PageRuns::look(const MemoryPart& part, std::uint64_t offset) {
  if (!wanted(part.region.file_offset + offset)) return Page::kSkip;
  const std::byte* page = part.host + offset;
  return untouched(page) || is_zero_page(page) ? Page::kZero : Page::kData;
}

void PageRuns::skip_unwanted(const MemoryPart& part) {
  while (offset_ < part.region.size && !wanted(part.region.file_offset + offset_))
    offset_ += kSnapshotPage;
}

std::optional<PageRun> PageRuns::next() {
  for (; part_ < source_.parts.size(); ++part_, offset_ = 0) {
    const MemoryPart& part = source_.parts[part_];
    skip_unwanted(part);
    if (offset_ >= part.region.size) continue;
    const std::uint64_t first = offset_;
    const Page kind = look(part, first);
    do {
      offset_ += kSnapshotPage;
    } while (offset_ < part.region.size && offset_ - first < kMaxRun &&
             look(part, offset_) == kind);
    return PageRun{part.region.file_offset + first, part.host + first, offset_ - first,
                   kind == Page::kZero};
  }
  return std::nullopt;
}

}  // namespace mvm::vmm
