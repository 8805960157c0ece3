// SPDX-License-Identifier: Apache-2.0
// The last page of a memory file: what the file is and whose.
// The format is docs/formats/snapshot.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/units.h"
#include "vmm/snapshot/fields.h"
#include "vmm/snapshot/snapshot_id.h"

namespace mvm::vmm {

constexpr std::uint32_t kMemoryFormatVersion = 1;
constexpr std::size_t kSnapshotPage = 4096;
constexpr std::size_t kMaxMemoryRegions = 64;
constexpr Bytes kMaxMemorySize{std::uint64_t{1} << 42};

// A region of guest memory and where it lies in the file.
struct SnapshotRegion {
  std::uint64_t gpa = 0;
  std::uint64_t size = 0;
  std::uint64_t file_offset = 0;
  friend bool operator==(const SnapshotRegion&, const SnapshotRegion&) = default;
};

enum class MemoryKind : std::uint32_t {
  kUnfinished = 0,  // being written in place: no snapshot
  kFull = 1,
  kDiff = 2,
};

struct MemoryTrailer {
  MemoryKind kind = MemoryKind::kFull;
  SnapshotId id;
  SnapshotId base;  // of a diff: what it changes
  Digest bitmap{};  // of a diff: the digest of its bitmap
  std::vector<SnapshotRegion> regions;

  std::uint64_t memory_size() const;
  // Of the bitmap in the file, padding included; 0 without one.
  std::uint64_t bitmap_size() const;
  std::uint64_t file_size() const { return memory_size() + bitmap_size() + kSnapshotPage; }

  std::array<std::byte, kSnapshotPage> encode() const;
  // `name` is what errors call the file, `file_size` its length. Errors: kCorrupt, kUnsupported for
  // another format version.
  static Result<MemoryTrailer> parse(const std::string& name,
                                     std::span<const std::byte, kSnapshotPage> page,
                                     std::uint64_t file_size);
};

// Whole pages, in order, without overlap, without gaps in the file.
// Errors: kInvalidArgument.
Result<> check_regions(std::span<const SnapshotRegion> regions);

}  // namespace mvm::vmm
