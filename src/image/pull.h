// SPDX-License-Identifier: Apache-2.0
// From what the user typed to an image in the store.
//
// resolve() answers from the catalogue when it can; pull() makes the image. Both check local
// sources (dir:, tar:, oci:, archives, busybox) against a fingerprint, so that a changed source is
// never served from the cache; debian: and registry references are what they were when pulled,
// until pulled again. Threads and processes: any number at once, the same source included; the
// result is the same file.
#pragma once

#include <optional>
#include <string>

#include "core/result.h"
#include "image/progress.h"
#include "image/skopeo.h"
#include "store/catalog.h"
#include "store/layout.h"

namespace mvm::image {

struct PullRequest {
  std::string source;  // see source.h
  spec::Arch arch = spec::Arch::kX86_64;
  std::string creds;
  std::string authfile;
  std::string cert_dir;
  std::optional<bool> tls_verify;  // see FetchOptions
  bool force = false;              // make it anew even when nothing has changed
};

// The image of `request.source`, fetched and made unless a local source has not changed since.
// Errors: those of parse_source(), the fetching tools, Unpacker, make_erofs(); nothing is left
// behind.
Result<store::ImageRecord> pull(const PullRequest& request, const store::Layout& layout,
                                store::Catalog& catalog, Progress& progress);

// The image without making anything: nothing when it must be pulled first. Digests and their
// prefixes are understood too. `catalog` may be opened read-only.
Result<std::optional<store::ImageRecord>> find_cached(const PullRequest& request,
                                                      const store::Layout& layout,
                                                      const store::Catalog& catalog);

// find_cached(), else pull().
Result<store::ImageRecord> resolve(const PullRequest& request, const store::Layout& layout,
                                   store::Catalog& catalog, Progress& progress);

}  // namespace mvm::image
