// SPDX-License-Identifier: Apache-2.0
#include "vmm/snapshot/memory_trailer.h"

#include <algorithm>
#include <string_view>

#include "core/checked.h"

namespace mvm::vmm {
namespace {

constexpr std::string_view kMagic = "mvmmemry";
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kKindAt = 12;
constexpr std::size_t kMemorySizeAt = 16;
constexpr std::size_t kIdAt = 24;
constexpr std::size_t kBaseAt = 40;
constexpr std::size_t kRegionCountAt = 56;
constexpr std::size_t kReservedAt = 60;
constexpr std::size_t kBitmapDigestAt = 64;
constexpr std::size_t kRegionsAt = 96;
constexpr std::size_t kRegionSize = 24;
constexpr std::size_t kDigestAt = kSnapshotPage - 32;
static_assert(kRegionsAt + kMaxMemoryRegions * kRegionSize <= kDigestAt);

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

Error damaged(const std::string& name, std::string_view why) {
  return Error(Errc::kCorrupt, name + " is damaged: " + std::string(why));
}

// The fields that come before anything else is believed.
Result<> check_identity(const std::string& name, std::span<const std::byte, kSnapshotPage> page) {
  const auto magic = std::as_bytes(std::span(kMagic));
  if (!std::equal(magic.begin(), magic.end(), page.begin()))
    return Error(Errc::kCorrupt, name + " is not the memory of a snapshot, or is truncated");
  if (const auto version = load<std::uint32_t>(page, kVersionAt); version != kMemoryFormatVersion)
    return Error(Errc::kUnsupported, name + " was made by format version " +
                                         std::to_string(version) + ", this program reads " +
                                         std::to_string(kMemoryFormatVersion));
  if (load_bytes<32>(page, kDigestAt) != digest_of({page.first(kDigestAt)}))
    return damaged(name, "its trailer is not what was written");
  return {};
}

Result<std::vector<SnapshotRegion>> parse_regions(const std::string& name,
                                                  std::span<const std::byte, kSnapshotPage> page) {
  const auto count = load<std::uint32_t>(page, kRegionCountAt);
  if (count == 0 || count > kMaxMemoryRegions) return damaged(name, "it has no usable regions");
  std::vector<SnapshotRegion> out;
  for (std::size_t at = kRegionsAt; out.size() < count; at += kRegionSize)
    out.push_back({load<std::uint64_t>(page, at), load<std::uint64_t>(page, at + 8),
                   load<std::uint64_t>(page, at + 16)});
  if (const auto checked = check_regions(out); !checked)
    return damaged(name, checked.error().message());
  return out;
}

}  // namespace

Result<> check_regions(std::span<const SnapshotRegion> regions) {
  const auto refuse = [](const char* why) { return Error(Errc::kInvalidArgument, why); };
  if (regions.empty() || regions.size() > kMaxMemoryRegions)
    return refuse("guest memory has no regions or too many");
  std::uint64_t offset = 0;
  std::uint64_t gpa = 0;
  for (const SnapshotRegion& region : regions) {
    if (region.size == 0 || region.size % kSnapshotPage != 0 || region.gpa % kSnapshotPage != 0)
      return refuse("a region of guest memory is not made of whole pages");
    const auto end = checked_add(region.gpa, region.size);
    if (region.gpa < gpa || !end) return refuse("regions of guest memory overlap");
    if (region.file_offset != offset || region.size > kMaxMemorySize.count - offset)
      return refuse("regions of guest memory do not follow each other in the file");
    gpa = *end;
    offset += region.size;
  }
  return {};
}

std::uint64_t MemoryTrailer::memory_size() const {
  return regions.empty() ? 0 : regions.back().file_offset + regions.back().size;
}

std::uint64_t MemoryTrailer::bitmap_size() const {
  if (kind != MemoryKind::kDiff) return 0;
  return round_up(round_up(memory_size() / kSnapshotPage, 8) / 8, kSnapshotPage);
}

std::array<std::byte, kSnapshotPage> MemoryTrailer::encode() const {
  std::array<std::byte, kSnapshotPage> page{};
  store_bytes(page, 0, std::as_bytes(std::span(kMagic)));
  store(std::span(page), kVersionAt, kMemoryFormatVersion);
  store(std::span(page), kKindAt, static_cast<std::uint32_t>(kind));
  store(std::span(page), kMemorySizeAt, memory_size());
  store_bytes(page, kIdAt, id.bytes);
  store_bytes(page, kBaseAt, base.bytes);
  store(std::span(page), kRegionCountAt, static_cast<std::uint32_t>(regions.size()));
  store_bytes(page, kBitmapDigestAt, bitmap);
  std::size_t at = kRegionsAt;
  for (const SnapshotRegion& region : regions) {
    store(std::span(page), at, region.gpa);
    store(std::span(page), at + 8, region.size);
    store(std::span(page), at + 16, region.file_offset);
    at += kRegionSize;
  }
  store_bytes(page, kDigestAt, digest_of({std::span(page).first(kDigestAt)}));
  return page;
}

Result<MemoryTrailer> MemoryTrailer::parse(const std::string& name,
                                           std::span<const std::byte, kSnapshotPage> page,
                                           std::uint64_t file_size) {
  MVM_TRY(check_identity(name, page));
  MemoryTrailer out;
  const auto kind = load<std::uint32_t>(page, kKindAt);
  if (kind == static_cast<std::uint32_t>(MemoryKind::kUnfinished))
    return Error(Errc::kCorrupt, name + " is incomplete: writing to it was interrupted");
  if (kind > static_cast<std::uint32_t>(MemoryKind::kDiff))
    return damaged(name, "it is of no known kind");
  out.kind = static_cast<MemoryKind>(kind);
  out.id = {load_bytes<16>(page, kIdAt)};
  out.base = {load_bytes<16>(page, kBaseAt)};
  out.bitmap = load_bytes<32>(page, kBitmapDigestAt);
  out.regions = MVM_TRY(parse_regions(name, page));
  if (out.memory_size() != load<std::uint64_t>(page, kMemorySizeAt) ||
      load<std::uint32_t>(page, kReservedAt) != 0 || out.id.empty() ||
      out.base.empty() != (out.kind == MemoryKind::kFull))
    return damaged(name, "its trailer contradicts itself");
  if (out.file_size() != file_size)
    return Error(Errc::kCorrupt, name + " is truncated or grown: " + std::to_string(file_size) +
                                     " bytes, its trailer says " + std::to_string(out.file_size()));
  return out;
}

}  // namespace mvm::vmm
