// SPDX-License-Identifier: Apache-2.0
// Guest memory cut into runs of pages that are zero and runs that are not, in the order of the
// file, as cheaply as can be: pages that were never touched are told by the kernel (pagemap) and
// not looked at, because reading one would map it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sys/unique_fd.h"
#include "vmm/snapshot/memory_trailer.h"

namespace mvm::vmm {

// A region of guest memory in this process.
struct MemoryPart {
  SnapshotRegion region;
  const std::byte* host = nullptr;  // page-aligned
};

struct MemorySource {
  std::vector<MemoryPart> parts;
  // True for private anonymous memory. False when an untouched page may hold something: a mapped
  // file, or pages that a userfaultfd handler provides.
  bool untouched_is_zero = false;

  std::vector<SnapshotRegion> regions() const;
  std::uint64_t size() const;
  // nullptr past the end.
  const std::byte* at(std::uint64_t file_offset) const;
};

bool is_zero_page(const std::byte* page);

struct PageRun {
  std::uint64_t file_offset = 0;
  const std::byte* host = nullptr;
  std::uint64_t length = 0;  // whole pages, of one region, at most kMaxRun
  bool zero = false;
};

class PageRuns {
 public:
  static constexpr std::uint64_t kMaxRun = 8 << 20;

  // `only`: one bit a page over file offsets, of those that matter; nothing: all of them.
  // `pagemap_fd`: this process's pagemap, or -1 to open it; where it cannot be read, every page
  // is looked at. Both must outlive the object.
  PageRuns(const MemorySource& source, std::optional<std::span<const std::uint64_t>> only,
           int pagemap_fd);

  std::optional<PageRun> next();

 private:
  enum class Page { kSkip, kZero, kData };
  Page look(const MemoryPart& part, std::uint64_t offset);
  bool wanted(std::uint64_t file_offset) const;
  bool untouched(const std::byte* page);
  bool fill_pagemap(std::uint64_t page_number);
  void skip_unwanted(const MemoryPart& part);

  const MemorySource& source_;
  std::optional<std::span<const std::uint64_t>> only_;
  sys::UniqueFd opened_;
  int pagemap_ = -1;
  std::vector<std::uint64_t> window_;  // entries of pagemap
  std::uint64_t window_first_ = 0;     // the page of the first one
  std::size_t part_ = 0;
  std::uint64_t offset_ = 0;  // in the part
};

}  // namespace mvm::vmm
