// SPDX-License-Identifier: Apache-2.0
// What of a project a build reads, as digests of content and as cheap marks of the files.
//
// Equal digests give the same image wherever the project lies; equal marks mean that nothing was
// touched since, and are found without reading a file.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "spec/manifest.h"

namespace mvm::build {

enum class Role { kSource, kOverlay };

struct Input {
  Role role = Role::kSource;
  std::string name;  // as the manifest says it: "site", "tar:root.tar"
  std::string path;  // absolute
  // Whoever reads it sees all of it, also what is_left_out() elsewhere.
  bool whole = false;
};

// The files and directories that the manifest names, in its order. Suites, registries and URLs are
// not among them: they are looked at when they are fetched. Errors: kInvalidArgument.
Result<std::vector<Input>> inputs_of(const spec::Manifest& manifest, const std::string& project);

// SHA-256 of names, types, permissions and content. Errors: kNotFound naming the path;
// kUnsupported for devices, FIFOs and sockets.
Result<std::string> content_digest(const Input& input);

// One mark of all of them. Errors: kNotFound.
Result<std::string> fingerprint_of(const std::vector<Input>& inputs);

// Not part of what we lay into an image: version control's own files and links to results.
bool is_left_out(const std::string& below);

}  // namespace mvm::build
