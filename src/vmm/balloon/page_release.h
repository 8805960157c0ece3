// SPDX-License-Identifier: Apache-2.0
// Gives pages that the guest does not use back to the host.
//
// MADV_DONTNEED in every case. Anonymous memory reads as zeros afterwards. In a private mapping of
// a snapshot's file the page's private copy is freed, and the file's old content of this same guest
// shows through when it is touched again: a driver may not rely on the content of such a page
// (VIRTIO 1.2, 5.5.6), and nothing of another guest can appear. Mapping anonymous memory over the
// range instead would give zeros, but a new mapping for every hole: a guest that gives back every
// other page would use up the process's mappings (vm.max_map_count), and free not a byte more.
//
// Threads: any; vcpus may touch the pages meanwhile.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "core/result.h"
#include "vmm/memory/guest_memory.h"

namespace mvm::vmm {

struct Released {
  std::uint64_t bytes = 0;
  std::uint64_t failures = 0;  // of madvise
  int errnum = 0;              // of the last failure
};

// Guest page frame numbers of 4 KiB each, in any order; they get sorted so that neighbours go in
// one call. Errors: kGuestFault when one is not RAM; no page has been released then.
Result<Released> release_frames(const GuestMemory& memory, std::span<std::uint32_t> frames);

// Host ranges, as chains have them; of pages that are not wholly inside, nothing is released.
Released release_ranges(std::span<const iovec> ranges);

}  // namespace mvm::vmm
