// SPDX-License-Identifier: Apache-2.0
// The guest's memory, and the one function through which everything in mvm-vmm touches it.
//
// Guest physical addresses (gpa) and lengths come from the guest and are checked here, once:
// slice() gives a host range that lies wholly in one region of RAM, or nothing. Memory may change
// under the reader at any time; copy first, then validate the copy.
//
// Threads: const functions may be called from any thread; the regions never change after create.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "core/result.h"
#include "core/units.h"

namespace mvm::vmm {

using Gpa = std::uint64_t;

// RAM ends here below 4 GiB and goes on at 4 GiB: devices and interrupt controllers lie between.
constexpr Gpa kMmioGapStart = 0xd000'0000;
constexpr Gpa kMmioGapEnd = 0x1'0000'0000;

struct MemoryRegion {
  Gpa start = 0;
  std::uint64_t size = 0;
  std::byte* host = nullptr;
  std::uint64_t file_offset = 0;  // of the region in a snapshot's memory file
};

class GuestMemory {
 public:
  static constexpr std::uint64_t kPageSize = 4096;

  // Private anonymous memory, zero, allocated when touched.
  // Errors: kInvalidArgument unless `size` is a positive number of pages; those of mmap.
  static Result<GuestMemory> create(Bytes size);
  // A private mapping of a snapshot's memory file: pages are read when touched, writes stay ours.
  // Errors: kCorrupt when the file is shorter than `size`.
  static Result<GuestMemory> map_file(int fd, Bytes size);

  GuestMemory(GuestMemory&& other) noexcept;
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;
  ~GuestMemory();

  Bytes size() const { return size_; }
  const std::vector<MemoryRegion>& regions() const { return regions_; }

  // The host's view of [gpa, gpa + length), or nothing when any byte of it is not RAM of one
  // region. An empty span for length 0 at a valid address.
  std::optional<std::span<std::byte>> slice(Gpa gpa, std::uint64_t length) const;

  // Copies; false when the range is not RAM. write() also notes the pages as dirty.
  bool read(Gpa gpa, std::span<std::byte> into) const;
  bool write(Gpa gpa, std::span<const std::byte> from) const;

  template <class T>
    requires std::is_trivially_copyable_v<T>
  std::optional<T> read_object(Gpa gpa) const {
    T out;
    if (!read(gpa, std::as_writable_bytes(std::span(&out, 1)))) return std::nullopt;
    return out;
  }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  bool write_object(Gpa gpa, const T& value) const {
    return write(gpa, std::as_bytes(std::span(&value, 1)));
  }

  // Notes pages that the monitor itself has changed through a slice, for diff snapshots: KVM's own
  // log has only the vcpus' writes. Costs nothing unless track_dirty(true).
  void mark_dirty(Gpa gpa, std::uint64_t length) const;
  void track_dirty(bool on);
  // One bit a page over the file offsets, and starts anew. Shape: size() / kPageSize bits.
  std::vector<std::uint64_t> take_dirty() const;

 private:
  GuestMemory() = default;
  Bytes size_;
  std::vector<MemoryRegion> regions_;
  struct DirtyMap;
  std::unique_ptr<DirtyMap> dirty_;
};

}  // namespace mvm::vmm
