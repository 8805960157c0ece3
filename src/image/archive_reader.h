// SPDX-License-Identifier: Apache-2.0
// libarchive's handles with the formats and filters that mvm accepts; included only by .cc files of
// image/.
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "image/progress.h"
#include "image/unpack.h"
#include "sys/sha256.h"
#include "sys/unique_fd.h"

namespace mvm::image {

struct FreeArchive {
  void operator()(archive* handle) const { archive_read_free(handle); }
};
using ArchiveHandle = std::unique_ptr<archive, FreeArchive>;

// Tar only; gzip, bzip2, xz, lzma, zstd and lz4 built in. Filters that start programs are left out.
Result<ArchiveHandle> new_archive_reader();

// libarchive converts names through the locale: within this scope the thread's is C.UTF-8.
class Utf8Scope {
 public:
  Utf8Scope();
  ~Utf8Scope();
  Utf8Scope(const Utf8Scope&) = delete;
  Utf8Scope& operator=(const Utf8Scope&) = delete;

 private:
  locale_t locale_;
  locale_t before_;
};

// Feeds a layer file to libarchive, hashing what passes when a digest is expected.
class LayerStream {
 public:
  static Result<LayerStream> open(const LayerFile& layer, Progress& progress);

  Result<> attach(archive* handle);
  // Reads what the archive reader left, then compares size and digest.
  Result<> verify();

 private:
  LayerStream(const LayerFile& layer, Progress& progress, sys::UniqueFd fd);
  static la_ssize_t read_callback(archive* handle, void* self, const void** out);
  Result<std::size_t> fill();

  const LayerFile* layer_;
  Progress* progress_;
  sys::UniqueFd fd_;
  sys::Sha256 hash_;
  std::vector<std::byte> buffer_;
  Bytes read_;
  Bytes total_;
};

}  // namespace mvm::image
