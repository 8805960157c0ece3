// SPDX-License-Identifier: Apache-2.0
// Garbage: blobs and snapshots without a record, directories of pulls that were killed, caches that
// can be rebuilt.
//
// Pulls, and whoever makes a snapshot, hold the images lock shared from the first file to the
// record; collect() needs it alone, so it never removes what is being made. Used by `image prune`
// and `cache prune`.
#pragma once

#include "core/result.h"
#include "core/units.h"
#include "store/catalog.h"
#include "store/layout.h"
#include "sys/files.h"

namespace mvm::store {

// Held shared by whoever adds blobs, until the record is written. Makes the images directories.
Result<sys::FileLock> lock_images_shared(const Layout& layout);

// Removes what killed pulls left; does nothing while a pull runs.
Result<> remove_stale_temporaries(const Layout& layout);

struct CollectOptions {
  bool unused_images = false;  // also forget images that no machine uses
  bool caches = false;         // also kernels, initramfs and scratch templates
  bool dry_run = false;        // only count
};

struct Collected {
  Bytes freed;
  std::size_t images = 0;  // records forgotten
  std::size_t blobs = 0;   // files removed
  bool busy = false;       // a pull is running: images were left alone
};

Result<Collected> collect(const Layout& layout, Catalog& catalog, const CollectOptions& options);

// Makes `temp` (on the same file system) the blob of `digest`: fsync, rename, fsync of the
// directory. Errors: kNoSpace naming the directory.
Result<> publish_blob(const Layout& layout, const std::string& temp, std::string_view digest);

}  // namespace mvm::store
