// SPDX-License-Identifier: Apache-2.0
// libarchive's handles of an archive that is written to a file; included only by .cc files of
// image/.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <memory>
#include <string>

#include "core/result.h"

namespace mvm::image {

struct FreeWriter {
  void operator()(archive* handle) const { archive_write_free(handle); }
};
using WriterHandle = std::unique_ptr<archive, FreeWriter>;

struct FreeEntry {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
using EntryHandle = std::unique_ptr<archive_entry, FreeEntry>;

// What the handle says of its last failure. Errors: kNoSpace, kIo.
Error writer_error(archive* handle, const std::string& path);

}  // namespace mvm::image
