// SPDX-License-Identifier: Apache-2.0
// Projects: directories with a manifest, and the revisions that were built from them.
#pragma once

#include <optional>
#include <string>

#include "core/result.h"
#include "spec/manifest.h"
#include "store/catalog.h"
#include "store/layout.h"

namespace mvm::workflow {

struct Project {
  std::string dir;          // absolute
  std::string file;         // its manifest
  std::string text;         // of the manifest
  spec::Manifest manifest;  // with a name
};

// The directory with a manifest at or above `start`, up to the root of the repository it lies in.
std::optional<std::string> find_project_dir(const std::string& start);

// The project of a directory, or of one below it. Errors: kNotFound; those of the manifest.
Result<Project> load_project(const std::string& path);

// A cheap mark of everything on this disk that a build of it reads. Errors: kNotFound.
Result<std::string> project_fingerprint(const Project& project);

// As people are shown a revision, and as names have it.
std::string short_revision(const std::string& revision);

// The name of a build's image: "build:web@3f2a…". Images of equal content may differ in what runs.
std::string image_ref(const store::BuildRecord& build);

enum class Drift {
  kNone,
  kChanged,  // the project is no longer what the revision was made from
};

struct Revision {
  store::BuildRecord build;
  Drift drift = Drift::kNone;
};

// What `run PATH` and `up PATH` boot. Errors: kNotFound when nothing was built, or when the image
// is gone.
Result<Revision> current_revision(const store::Layout& layout, const store::Catalog& catalog,
                                  const Project& project);

}  // namespace mvm::workflow
