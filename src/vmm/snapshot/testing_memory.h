// SPDX-License-Identifier: Apache-2.0
// Guest memory for the tests of snapshot/: two regions of anonymous memory, and what a file has.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "sys/io.h"
#include "vmm/snapshot/page_runs.h"

namespace mvm::vmm {

class TestMemory {
 public:
  explicit TestMemory(std::uint64_t low_pages, std::uint64_t high_pages)
      : pages_(low_pages + high_pages) {
    const std::uint64_t low = low_pages * kSnapshotPage;
    const std::uint64_t high = high_pages * kSnapshotPage;
    source_.parts.push_back({{0, low, 0}, map(low)});
    source_.parts.push_back({{std::uint64_t{1} << 32, high, low}, map(high)});
    source_.untouched_is_zero = true;
  }
  TestMemory(const TestMemory&) = delete;
  TestMemory& operator=(const TestMemory&) = delete;
  ~TestMemory() {
    for (const MemoryPart& part : source_.parts) ::munmap(host(part), part.region.size);
  }

  const MemorySource& source() const { return source_; }
  MemorySource& source() { return source_; }
  std::uint64_t pages() const { return pages_; }
  std::byte* page(std::uint64_t index) {
    return const_cast<std::byte*>(source_.at(index * kSnapshotPage));
  }
  void fill(std::uint64_t index, int value) { std::memset(page(index), value, kSnapshotPage); }
  // One byte differs from zero, at the end.
  void mark(std::uint64_t index) { page(index)[kSnapshotPage - 1] = std::byte{1}; }
  std::string content() {
    std::string out;
    for (const MemoryPart& part : source_.parts)
      out.append(reinterpret_cast<const char*>(part.host), part.region.size);
    return out;
  }

 private:
  static std::byte* host(const MemoryPart& part) { return const_cast<std::byte*>(part.host); }
  static std::byte* map(std::uint64_t size) {
    void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    ::madvise(at, size, MADV_NOHUGEPAGE);  // so that a touched page is one page
    return static_cast<std::byte*>(at);
  }
  MemorySource source_;
  std::uint64_t pages_;
};

// The part of a memory file that is guest memory.
inline std::string memory_in(const std::string& path, const TestMemory& memory) {
  const auto text = sys::read_file(path, gibibytes(1));
  return text ? text->substr(0, memory.pages() * kSnapshotPage) : text.error().text();
}

inline std::uint64_t allocated(const std::string& path) {
  struct stat st{};
  return ::stat(path.c_str(), &st) == 0 ? static_cast<std::uint64_t>(st.st_blocks) * 512 : 0;
}

class DirtyPages {
 public:
  explicit DirtyPages(const TestMemory& memory) : words_((memory.pages() + 63) / 64) {}
  void set(std::uint64_t page) { words_[page / 64] |= std::uint64_t{1} << page % 64; }
  operator std::span<const std::uint64_t>() const { return words_; }  // NOLINT

 private:
  std::vector<std::uint64_t> words_;
};

}  // namespace mvm::vmm
