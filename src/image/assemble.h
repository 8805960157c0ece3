// SPDX-License-Identifier: Apache-2.0
// Layers or a directory into one EROFS file, as root or through fakeroot.
//
// Root calls the steps directly. Anybody else runs the same steps in a child,
// `fakeroot -- THIS-PROGRAM __assemble PLANFILE`, in which ownership and device nodes are
// remembered by fakeroot; the child is this very program, whose main() passes the call to
// assemble_main().
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "image/progress.h"
#include "image/unpack.h"

namespace mvm::image {

// The hidden verb of the CLI: `mvmctl __assemble PLANFILE`.
inline constexpr char kAssembleVerb[] = "__assemble";

struct AssemblePlan {
  std::vector<LayerFile> layers;  // lowest first; unpacked into `tree`
  std::string tree;               // existing and empty; empty: work_dir/tree is made
  std::string directory;          // when not empty: packed as it lies, without layers
  std::string work_dir;           // existing, private; the caller removes it
  std::string output;             // the EROFS file to make
};

// Errors: those of Unpacker and make_erofs(); kUnavailable without root and without fakeroot.
Result<> assemble(const AssemblePlan& plan, Progress& progress);

// The steps themselves, with the rights of this process.
Result<> assemble_here(const AssemblePlan& plan, Progress& progress);

// Body of the hidden verb; the result is written beside the plan. Returns the exit code.
int assemble_main(const std::string& plan_file);

// Plans as text. Errors: kInvalidArgument.
std::string plan_to_json(const AssemblePlan& plan);
Result<AssemblePlan> plan_from_json(std::string_view text);

}  // namespace mvm::image
