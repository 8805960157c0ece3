// SPDX-License-Identifier: Apache-2.0
// Registries and image archives into an OCI layout, by skopeo.
//
// Credentials go through a private file, never through the command line, where every user of the
// host could read them. Plain http and unverified TLS are possible on loopback only.
#pragma once

#include <optional>
#include <string>

#include "core/result.h"
#include "image/source.h"
#include "spec/vm_spec.h"

namespace mvm::image {

struct FetchOptions {
  spec::Arch arch = spec::Arch::kX86_64;
  std::string creds;     // "user:password"
  std::string authfile;  // of `skopeo login`; creds win
  std::string cert_dir;  // holds ca.crt, client.cert, client.key
  // Unset: verified, except on loopback without cert_dir. False is refused elsewhere.
  std::optional<bool> tls_verify;
};

// The tag that the image gets in the fetched layout.
inline constexpr char kFetchedTag[] = "image";

// Copies the image into the new layout `layout_dir`; `private_dir` takes the credentials file.
// Errors: kUnavailable (skopeo missing, registry not reachable), kNotFound, kPermission, kCorrupt,
// kNoSpace.
Result<> fetch_with_skopeo(const Source& source, const FetchOptions& options,
                           const std::string& layout_dir, const std::string& private_dir);

// skopeo's complaint as one line with its cause as code. Pure.
Error skopeo_error(const Source& source, std::string_view stderr_text);

}  // namespace mvm::image
