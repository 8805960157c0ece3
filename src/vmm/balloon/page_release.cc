// SPDX-License-Identifier: Apache-2.0
#include "vmm/balloon/page_release.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace mvm::vmm {
namespace {

constexpr unsigned kFrameShift = 12;
constexpr std::uint64_t kFrameSize = 1ULL << kFrameShift;

void release(std::byte* start, std::uint64_t length, Released& out) {
  // The host's pages may be larger than the guest's.
  const auto page = static_cast<std::uintptr_t>(::getpagesize());
  const auto begin = (reinterpret_cast<std::uintptr_t>(start) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(start) + length) / page * page;
  if (begin >= end) return;
  const std::uint64_t skipped = begin - reinterpret_cast<std::uintptr_t>(start);
  if (::madvise(start + skipped, end - begin, MADV_DONTNEED) == 0) {
    out.bytes += end - begin;
  } else {
    out.errnum = errno;
    ++out.failures;
  }
}

}  // namespace

Result<Released> release_frames(const GuestMemory& memory, std::span<std::uint32_t> frames) {
  std::sort(frames.begin(), frames.end());
  for (const std::uint32_t frame : frames) {
    if (!memory.slice(static_cast<Gpa>(frame) << kFrameShift, kFrameSize))
      return Error(Errc::kGuestFault,
                   "balloon: page frame " + std::to_string(frame) + " is not memory");
  }
  Released out;
  for (std::size_t i = 0; i < frames.size();) {
    const std::size_t first = i++;
    // The same page twice is released once.
    while (i < frames.size() && frames[i] - frames[i - 1] <= 1) ++i;
    const std::uint64_t length = (frames[i - 1] - frames[first] + 1ULL) << kFrameShift;
    // One run cannot lie in two regions: there is a gap between them.
    const auto range = memory.slice(static_cast<Gpa>(frames[first]) << kFrameShift, length);
    if (range) release(range->data(), length, out);
  }
  return out;
}

Released release_ranges(std::span<const iovec> ranges) {
  Released out;
  for (std::size_t i = 0; i < ranges.size();) {
    auto* const start = static_cast<std::byte*>(ranges[i].iov_base);
    std::uint64_t length = ranges[i++].iov_len;
    while (i < ranges.size() && ranges[i].iov_base == start + length) length += ranges[i++].iov_len;
    release(start, length, out);
  }
  return out;
}

}  // namespace mvm::vmm
