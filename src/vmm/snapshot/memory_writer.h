// SPDX-License-Identifier: Apache-2.0
// Writes guest memory: whole, as a diff of the pages that have changed, or the changed pages into
// the file of the content that they change. The format, and the order of writes that makes a crash
// at any point harmless, is docs/formats/snapshot.md.
//
// The caller has paused whatever writes to the memory, and draws the id, because the state file
// has to carry it. To save a whole VM so that a full disk destroys nothing: prepare the state file
// (SnapshotWriter::prepare), write the memory, commit the memory, commit the state file.
//
// Threads: none of its own; everything blocks for as long as the disk takes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "core/result.h"
#include "core/units.h"
#include "vmm/snapshot/memory_file.h"
#include "vmm/snapshot/page_runs.h"
#include "vmm/snapshot/pending_file.h"

namespace mvm::vmm {

// Whether what was written stays in the host's page cache: a restore soon after is then faster,
// and the host has less memory for everything else.
enum class MemoryCaching { kBypass, kKeep };

struct MemoryWriteOptions {
  MemoryCaching caching = MemoryCaching::kBypass;
  int pagemap_fd = -1;  // /proc/self/pagemap, for a process that can no longer open it
};

// A memory file that is complete and synced but for its name, or for its trailer when pages were
// written in place. Without commit() a new file leaves nothing behind; a file that was written in
// place is then no snapshot any more, and readers refuse it.
class PendingMemory {
 public:
  PendingMemory(PendingMemory&& other) noexcept;
  PendingMemory& operator=(PendingMemory&&) = delete;
  ~PendingMemory();

  Result<> commit();
  // Bytes of pages written, holes not counted.
  Bytes data() const { return data_; }
  // True when an existing file has been changed.
  bool in_place() const { return !file_.has_value(); }

 private:
  friend class InPlaceWriter;
  PendingMemory() = default;
  friend PendingMemory pending_new_file(PendingFile file, Bytes data);
  void release_lock();

  std::optional<PendingFile> file_;
  sys::UniqueFd fd_;  // of a file written in place
  std::string path_;
  MemoryTrailer trailer_;
  int own_lock_ = -1;  // descriptor of the caller whose lock was made exclusive
  Bytes data_;
};

// All of guest memory into a new file, which replaces the one of that name.
// Errors: kInvalidArgument for unusable regions or memory that is not page-aligned, kNoSpace.
Result<PendingMemory> write_memory(const std::string& path, const MemorySource& source,
                                   SnapshotId id, const MemoryWriteOptions& options = {});

struct MemoryChanges {
  // One bit a page over file offsets. Shape: (pages + 63) / 64 words.
  std::span<const std::uint64_t> dirty;
  // The id of the content that these pages change: of the VM's last snapshot, or of what it was
  // restored from.
  SnapshotId parent;
  // The file that this VM has mapped, if any: its lock must not stand in our own way.
  const MemoryFile* own = nullptr;
};

// The changed pages. Where nothing has that name, a new diff file; where the file with the
// parent's content has it (full or itself a diff), that file is brought up to date.
// Errors: kInvalidArgument without a parent, or "PATH is not the snapshot that this one continues";
// kBusy when another VM has it mapped; kNoSpace, before anything has been changed.
Result<PendingMemory> write_memory_changes(const std::string& path, const MemorySource& source,
                                           const MemoryChanges& changes, SnapshotId id,
                                           const MemoryWriteOptions& options = {});

// Writes the pages of a diff file into its base, in place; the base then has the diff's id.
// Errors: kInvalidArgument when the diff is none or of another base, kBusy when a VM has the base
// mapped, kNoSpace.
Result<> merge_diff(const std::string& base_path, const std::string& diff_path);

}  // namespace mvm::vmm
